package overload

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/endpoint"
)

// staleAfter is the age of a report that another is worth a trailer: that to
// which callers are likely to believe it.
const staleAfter = time.Second

// trailer is the key by which net/http takes what is not announced.
const trailer = http.TrailerPrefix + endpoint.LoadReportHeader

// WriteTrailer brings a load report up to date: where WriteReport has set the
// header a second ago or longer, it sets a trailer with the figures of now and
// whatever the handler has added to m since. It is called when the handler of r
// has returned with a status, with the header h that the server takes trailers
// from, and the t and m of WriteReport; a nil m is none, and has no trailer.
// What the handler itself has set there, such as the report of a server behind
// this one, is taken out.
//
// There is a trailer where one can be: over HTTP/2, and over HTTP/1.1 where no
// Content-Length was set; not to HEAD and CONNECT, nor with 204 and 304. The
// handler has to be served by a Server of net/http.
//
// "TE: trailers" is not asked for. It says that nobody on the way discards
// trailers (RFC 9110, 10.1.4), which a server needs to know of fields that must
// arrive; a report need not, for there was the header. Whoever reads chunks has
// to read past trailers anyway (RFC 9112, 7.1.2), and a client would have to
// pay with a header of its own for every request. Nor is the field announced,
// though a sender should (RFC 9110, 6.6.2): that a response will be a long one
// is not known when its header is sent, and to announce it each time would make
// chunks of every short answer.
func (g *Guard) WriteTrailer(h http.Header, r *http.Request, status int, t *Ticket, m *Metrics) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	sent := m.sent
	m.sent = noMore
	if m.value[0] == "" || sent == noMore {
		return
	}
	delete(h, trailer)
	if time.Since(g.meter.epoch)-sent < staleAfter || !takesTrailers(r, status, h) {
		return
	}
	if text := g.text(t, m); text != "" {
		h[trailer] = []string{text}
	}
}

// takesTrailers reports whether the response to r has a place for trailers.
func takesTrailers(r *http.Request, status int, h http.Header) bool {
	switch {
	case r.Method == http.MethodHead, r.Method == http.MethodConnect:
		// "frame types other than DATA or stream management frames [...] MUST
		// NOT be sent on a connected stream" - RFC 9113, 8.5
		return false
	case status < 200, status == http.StatusNoContent, status == http.StatusNotModified:
		// "cannot contain content or trailers" - RFC 9110, 15.3.5 and 15.4.5
		return false
	case r.Context().Value(http.ServerContextKey) == nil:
		// Adapters to other servers may take the key for the name of a field.
		return false
	case r.ProtoMajor >= 2:
		return true
	}
	return r.ProtoAtLeast(1, 1) && len(h["Content-Length"]) == 0
}

// unannounce takes load reports out of the trailers that h announces. A server
// would send under that name what is in the header.
func unannounce(h http.Header, announced []string) {
	if !slices.ContainsFunc(announced, func(value string) bool {
		for name := range strings.SplitSeq(value, ",") {
			if isReport(name) {
				return true
			}
		}
		return false
	}) {
		return
	}
	delete(h, "Trailer")
	for _, value := range announced {
		if names := slices.DeleteFunc(strings.Split(value, ","), isReport); len(names) > 0 {
			h["Trailer"] = append(h["Trailer"], strings.Join(names, ","))
		}
	}
}

func isReport(name string) bool {
	return strings.EqualFold(textproto.TrimString(name), endpoint.LoadReportHeader)
}
