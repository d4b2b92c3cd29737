package tulle

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CORS says which scripts may ask although they come from another origin, and
// what of the answers they may see, as the Fetch standard has it. Preflights
// are answered with 204 before anybody has to say who he is, since browsers
// send no credentials with them. What the handler says of the same in its
// answers is replaced.
//
// It is browsers that hold scripts to it, for the sake of their users. It
// protects the server from nobody: requests of other origins are let through,
// and their answers are not shown.
type CORS struct {
	// AllowOrigins are the origins, compared byte by byte as browsers write
	// them: "https://shop.example", with a port that is not the scheme's own.
	// "*" alone is any. There must be at least one.
	AllowOrigins []string `json:"allowOrigins,omitzero"`
	// AllowMethods are the methods besides GET, HEAD and POST. "*" alone is
	// any, if there are no credentials.
	AllowMethods []string `json:"allowMethods,omitzero"`
	// AllowHeaders are the names of fields that scripts may send, besides
	// those that they always may. "*" alone is any but Authorization, if there
	// are no credentials.
	AllowHeaders []string `json:"allowHeaders,omitzero"`
	// ExposeHeaders are the names of fields of answers that scripts may read,
	// besides those that they always may. "*" alone is any, if there are no
	// credentials.
	ExposeHeaders []string `json:"exposeHeaders,omitzero"`
	// AllowCredentials lets scripts ask with the cookies and certificates of
	// their users. It excludes "*" everywhere.
	AllowCredentials bool `json:"allowCredentials,omitzero"`
	// MaxAge is how long browsers may remember the answer to a preflight, in
	// whole seconds; 0 leaves it to them: 5 s.
	MaxAge time.Duration `json:"maxAge,omitzero"`
}

func (c *CORS) validate(f *faults) {
	if len(c.AllowOrigins) == 0 {
		f.add("cors.allowOrigins: there is none")
	}
	list := func(field string, names []string, good func(string) bool, what string) {
		for i, name := range names {
			switch {
			case name == "*" && c.AllowCredentials:
				f.add("%s[%d]: * excludes allowCredentials", field, i)
			case name == "*" && len(names) > 1:
				f.add("%s[%d]: * stands alone", field, i)
			case name != "*" && !good(name):
				f.add("%s[%d]: %q is no %s", field, i, name, what)
			case slices.Contains(names[:i], name):
				f.add("%s[%d]: %s is listed twice", field, i, name)
			}
		}
	}
	list("cors.allowOrigins", c.AllowOrigins, isOrigin, "origin, such as https://shop.example")
	list("cors.allowMethods", c.AllowMethods, isToken, "method")
	list("cors.allowHeaders", c.AllowHeaders, isToken, "name of a field")
	list("cors.exposeHeaders", c.ExposeHeaders, isToken, "name of a field")
	if c.MaxAge < 0 {
		f.add("cors.maxAge: %v is negative", c.MaxAge)
	} else if c.MaxAge%time.Second != 0 {
		f.add("cors.maxAge: %v is not a number of seconds", c.MaxAge)
	}
}

// isOrigin reports whether s is an origin as browsers write it. That of a page
// which has none is "null"; any page can make it so, so it is never allowed.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || s != strings.ToLower(s) || s != u.Scheme+"://"+u.Host {
		return false
	}
	port := u.Port()
	own := u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443"
	return !own && !strings.HasSuffix(u.Host, ":") && !strings.ContainsAny(u.Host, "*, ")
}

// cors is CORS made ready.
type cors struct {
	any, credentials                 bool
	origins                          []string
	methods, headers, expose, maxAge string
}

func newCORS(c *CORS) *cors {
	if c == nil {
		return nil
	}
	made := &cors{
		any: slices.Contains(c.AllowOrigins, "*"), credentials: c.AllowCredentials, origins: c.AllowOrigins,
		methods: strings.Join(c.AllowMethods, ", "), headers: strings.Join(c.AllowHeaders, ", "), expose: strings.Join(c.ExposeHeaders, ", "),
	}
	if c.MaxAge > 0 {
		made.maxAge = strconv.FormatInt(int64(c.MaxAge/time.Second), 10)
	}
	return made
}

// isPreflight reports whether a browser asks whether it may ask.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
}

// setFields sets the fields of the answer to a request.
func (c *cors) setFields(h http.Header, origin []string, preflight bool) {
	for _, name := range [...]string{
		"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers",
		"Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age",
	} {
		delete(h, name)
	}
	if !c.any {
		// Also where the origin is not allowed, or there is none: the next may be.
		h.Add("Vary", "Origin")
	}
	if len(origin) != 1 || !c.any && !slices.Contains(c.origins, origin[0]) {
		return
	}
	set := func(name, value string) {
		if value != "" {
			h[name] = []string{value}
		}
	}
	if c.any {
		set("Access-Control-Allow-Origin", "*")
	} else {
		set("Access-Control-Allow-Origin", origin[0])
	}
	if c.credentials {
		set("Access-Control-Allow-Credentials", "true")
	}
	if !preflight {
		set("Access-Control-Expose-Headers", c.expose)
		return
	}
	set("Access-Control-Allow-Methods", c.methods)
	set("Access-Control-Allow-Headers", c.headers)
	set("Access-Control-Max-Age", c.maxAge)
}
