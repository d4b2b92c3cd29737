package authz

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/match"
)

var pathSeeds = []string{
	"/", "/admin", "/admin/", "/admin/x", "/administrator", "/public", "/public/", "/public/x", "/other", "/Admin",
	"//admin", "/public//admin", "/public/../admin", "/admin/../public/x", "/public/%2e%2e/admin", "/admin/%2e%2e/public/x",
	"/public%2F..%2Fadmin", "/public/..%2fadmin", "/%61dmin", "/%70ublic/x", "/public/%252e%252e/admin", "/public/..;/admin",
	"/admin;x=1", "/public;x/..;y/admin", `/public\..\admin`, "/public%5C..%5Cadmin", `/admin\`, "/admin%00", "/admin%09", "/public/%3F/../x",
	"/admin%3Fx", "/admin%23", "/admin\xff", "/caf%c3%a9", "http://h/admin", "http://h//admin", "http://h", "*", "h:443", "/a,b/%2C",
}

// site is a handler that can be told from a redirect of ServeMux.
type site string

func (site) ServeHTTP(http.ResponseWriter, *http.Request) {}

func sites() *http.ServeMux {
	mux := http.NewServeMux()
	for _, pattern := range []string{"/admin", "/admin/", "/public", "/public/", "/"} {
		mux.Handle(pattern, site(pattern))
	}
	return mux
}

// readings are what routers, file systems and servers behind a handler make of
// a request's path.
func readings(r *http.Request, mux *http.ServeMux) map[string]string {
	u := r.URL
	decode := func(s string) string {
		for range 4 {
			d, err := url.PathUnescape(s)
			if err != nil || d == s {
				break
			}
			s = d
		}
		return s
	}
	clean := func(s string) string { return path.Clean("/" + s) }
	slashes := func(s string) string { return strings.ReplaceAll(s, `\`, "/") }
	params := func(s string) string {
		parts := strings.Split(s, "/")
		for i, p := range parts {
			parts[i], _, _ = strings.Cut(p, ";")
		}
		return strings.Join(parts, "/")
	}
	cut := func(s string) string {
		if i := strings.IndexAny(s, "?#\x00"); i >= 0 {
			return s[:i]
		}
		return s
	}
	visible := func(s string) string {
		return strings.Map(func(c rune) rune {
			if c < ' ' || c == 0x7f {
				return -1
			}
			return c
		}, strings.ToValidUTF8(s, ""))
	}
	sent := u.EscapedPath()
	all := map[string]string{
		"as it is":          u.Path,
		"clean":             clean(u.Path),
		"as sent":           sent,
		"as sent, clean":    clean(sent),
		"canonical":         match.CanonicalPath(u),
		"decoded on":        decode(u.Path),
		"decoded on, clean": clean(decode(u.Path)),
		"slashes":           clean(slashes(u.Path)),
		"parameters":        clean(params(u.Path)),
		"cut":               clean(cut(u.Path)),
		"visible":           clean(visible(u.Path)),
		"everything":        clean(params(cut(visible(slashes(decode(u.Path)))))),
	}
	if h, _ := mux.Handler(r); h != nil {
		if s, ok := h.(site); ok && s != "/" {
			all["ServeMux"] = string(s)
		} else if ok {
			all["ServeMux"] = "/other"
		}
	}
	return all
}

func below(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

// pathPolicies protect /admin, and open /public and nothing else.
type pathPolicies struct{ deny, denyExact, allow, allowExact *Authorizer }

func newPathPolicies(t testing.TB) pathPolicies {
	one := func(action Action, p Path) *Authorizer {
		a, err := New(Policy{Rules: []Rule{{Name: "it", Action: action, To: []Operation{{Paths: []Path{p}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	return pathPolicies{
		one(Deny, Path{Prefix: "/admin"}), one(Deny, Path{Exact: "/admin"}),
		one(Allow, Path{Prefix: "/public"}), one(Allow, Path{Exact: "/public"}),
	}
}

// holes returns in what the policies, judged by allowed, can be got round.
func (p pathPolicies) holes(r *http.Request, mux *http.ServeMux, allowed func(*Authorizer, *http.Request) bool) []string {
	var out []string
	deny, denyExact, allow, allowExact := allowed(p.deny, r), allowed(p.denyExact, r), allowed(p.allow, r), allowed(p.allowExact, r)
	for name, reading := range readings(r, mux) {
		hole := func(rule string) {
			out = append(out, fmt.Sprintf("%s lets %q through, which read %s is %q", rule, r.RequestURI, name, reading))
		}
		trimmed := strings.TrimSuffix(reading, "/")
		if deny && below(reading, "/admin") {
			hole("denying below /admin")
		}
		if denyExact && trimmed == "/admin" && !(name == "ServeMux" && reading == "/admin/") {
			hole("denying /admin")
		}
		if allow && !below(reading, "/public") {
			hole("allowing below /public")
		}
		if allowExact && trimmed != "/public" {
			hole("allowing /public")
		}
	}
	return out
}

func readRequest(method, target string) (*http.Request, error) {
	return http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: h\r\n\r\n")))
}

// decides is the mechanism.
func decides(a *Authorizer, r *http.Request) bool { return a.Decide(r).Allowed }

// loosely is the mechanism with no doubt about paths.
func loosely(read func(*url.URL) string) func(*Authorizer, *http.Request) bool {
	return func(a *Authorizer, r *http.Request) bool {
		var f facts
		f.gather(r, a.needs)
		f.path, f.pathSure = read(r.URL), true
		return a.judge(&f).Allowed
	}
}

// TestLoosePathsHaveHoles is the negative control of FuzzPaths: matching the path
// as it is, or cleaned, or canonical, gets /admin open.
func TestLoosePathsHaveHoles(t *testing.T) {
	policies, mux := newPathPolicies(t), sites()
	for name, read := range map[string]func(*url.URL) string{
		"as it is":  func(u *url.URL) string { return u.Path },
		"clean":     func(u *url.URL) string { return path.Clean("/" + u.Path) },
		"canonical": match.CanonicalPath,
	} {
		loose := 0
		for _, target := range pathSeeds {
			r, err := readRequest(http.MethodGet, target)
			if err != nil {
				continue
			}
			loose += len(policies.holes(r, mux, loosely(read)))
			if holes := policies.holes(r, mux, decides); holes != nil {
				t.Errorf("%q", holes)
			}
		}
		if loose == 0 {
			t.Errorf("%s: no hole is found", name)
		}
	}
}

// FuzzPaths: no spelling of a path gets round a rule, whoever reads it. What is
// below /admin for anybody is denied, and what is allowed is below /public for
// everybody; net/http's ServeMux is among them.
func FuzzPaths(f *testing.F) {
	for _, target := range pathSeeds {
		f.Add(http.MethodGet, target)
		f.Add(http.MethodConnect, target)
	}
	mux := sites()
	policies := newPathPolicies(f)
	f.Fuzz(func(t *testing.T, method, target string) {
		r, err := readRequest(method, target)
		if err != nil || r.URL == nil {
			return
		}
		if holes := policies.holes(r, mux, decides); holes != nil {
			t.Fatalf("%q", holes)
		}
		if p, sure := plainPath(r); sure && p != match.CanonicalPath(r.URL) {
			t.Fatalf("%q has one reading, and that is not its canonical form %q", p, match.CanonicalPath(r.URL))
		}
	})
}
