package routing

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Direct answers a request with a configured response.
type Direct struct {
	// Status is the status code, from 200 to 599.
	Status int `json:"status,omitzero"`
	// Header holds further header fields.
	Header []Field `json:"header,omitzero"`
	// Body is sent except in answer to HEAD. It must be empty if Status is 204,
	// 205 or 304.
	Body string `json:"body,omitzero"`
	// ContentType is the media type of Body. Empty means
	// "text/plain; charset=utf-8" if there is a body.
	ContentType string `json:"contentType,omitzero"`
}

// Validate reports every fault of d, each with its path.
func (d Direct) Validate() error {
	var faults faults
	if d.Status < 200 || d.Status > 599 {
		faults.add("status", "%d is not between 200 and 599", d.Status)
	}
	for i, f := range d.Header {
		path := fmt.Sprintf("header[%d]", i)
		faults.field(path, f)
		if strings.EqualFold(f.Name, "Content-Type") {
			faults.add(path+".name", "the media type of the body is said by contentType")
		}
	}
	if d.Body != "" && bodiless(d.Status) {
		faults.add("body", "a response of status %d has none", d.Status)
	}
	if d.ContentType != "" {
		if d.Body == "" {
			faults.add("contentType", "there is no body")
		}
		faults.fieldValue("contentType", d.ContentType)
	}
	return faults.err()
}

// Response returns the answer to req as a client receives it: Request is req,
// ContentLength is known, and there is no body in answer to HEAD. It does not
// touch req, whose body is the caller's to close.
func (d Direct) Response(req *http.Request) *http.Response {
	text := http.StatusText(d.Status)
	if text == "" {
		text = "status code " + strconv.Itoa(d.Status) // as net/http's server has it
	}
	resp := &http.Response{
		Status:     strconv.Itoa(d.Status) + " " + text,
		StatusCode: d.Status,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     make(http.Header, len(d.Header)+2),
		Body:       http.NoBody,
		Request:    req,
	}
	d.writeHeader(resp.Header)
	if bodiless(d.Status) {
		return resp
	}
	resp.ContentLength = int64(len(d.Body))
	if d.Body != "" && req.Method != http.MethodHead {
		resp.Body = io.NopCloser(strings.NewReader(d.Body))
	}
	return resp
}

// ServeHTTP writes the answer to r.
func (d Direct) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.writeHeader(w.Header())
	w.WriteHeader(d.Status)
	if d.Body != "" && r.Method != http.MethodHead && !bodiless(d.Status) {
		// An error means that the client has gone.
		io.WriteString(w, d.Body)
	}
}

func (d Direct) writeHeader(header http.Header) {
	for _, f := range d.Header {
		header.Add(f.Name, f.Value)
	}
	if bodiless(d.Status) {
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(d.Body)))
	if d.Body != "" {
		contentType := d.ContentType
		if contentType == "" {
			contentType = "text/plain; charset=utf-8"
		}
		header.Set("Content-Type", contentType)
	}
}

// bodiless reports whether responses of a status have no body. RFC 9110 lets a
// 205 have Content-Length 0, which net/http writes by itself.
func bodiless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusResetContent || status == http.StatusNotModified
}
