package tulle_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/tulle-mesh/tulle"
)

// corsFields are those of an answer that browsers look at.
func corsFields(h http.Header) map[string]string {
	got := map[string]string{}
	for _, name := range []string{"Origin", "Credentials", "Methods", "Headers", "Max-Age"} {
		prefix := "Access-Control-Allow-"
		if name == "Max-Age" {
			prefix = "Access-Control-"
		}
		for _, v := range h.Values(prefix + name) {
			got[name] += v
		}
	}
	for _, v := range h.Values("Access-Control-Expose-Headers") {
		got["Expose"] += v
	}
	return got
}

// Preflights are answered before anybody has to say who he is; others get what
// their browser needs on whatever answer there is; those of origins that are
// not allowed get nothing.
func TestCORS(t *testing.T) {
	m := inbound(t, tulle.Inbound{Guard: tulle.Guard{Authn: tokens(), CORS: &tulle.CORS{
		AllowOrigins: []string{"https://shop.test", "http://localhost:3000"}, AllowMethods: []string{"PUT", "DELETE"},
		AllowHeaders: []string{"Authorization", "X-Cart"}, ExposeHeaders: []string{"X-Total"}, AllowCredentials: true, MaxAge: time.Hour,
	}}})
	next := &handled{then: func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Origin")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Vary", "Accept")
	}}
	h := m.Handler(next)
	preflight := with("Access-Control-Request-Method", "PUT")
	alice := bearer(tokenOf("alice", nil))
	good := map[string]string{"Origin": "https://shop.test", "Credentials": "true", "Expose": "X-Total"}
	asked := map[string]string{
		"Origin": "https://shop.test", "Credentials": "true", "Methods": "PUT, DELETE", "Headers": "Authorization, X-Cart", "Max-Age": "3600",
	}
	none := map[string]string{}
	for _, row := range []struct {
		name, what, origin string
		how                []visitor
		status             int
		fields             map[string]string
	}{
		{"preflight", "OPTIONS /", "https://shop.test", []visitor{preflight}, 204, asked},
		{"preflight of another method", "OPTIONS /", "https://shop.test", []visitor{with("Access-Control-Request-Method", "PATCH")}, 204, asked},
		{"preflight of a stranger", "OPTIONS /", "https://evil.test", []visitor{preflight}, 204, none},
		{"preflight of nowhere", "OPTIONS /", "null", []visitor{preflight}, 204, none},
		{"OPTIONS that is no preflight", "OPTIONS /", "https://shop.test", nil, 401, good},
		{"GET that says it is a preflight", "GET /", "https://shop.test", []visitor{preflight}, 401, good},
		{"no origin", "OPTIONS /", "", []visitor{preflight}, 401, none},
		{"request", "GET /", "https://shop.test", []visitor{alice}, 200, good},
		{"refused", "GET /", "https://shop.test", nil, 401, good},
		{"another", "GET /", "http://localhost:3000", []visitor{alice}, 200, map[string]string{"Origin": "http://localhost:3000", "Credentials": "true", "Expose": "X-Total"}},
		{"stranger", "GET /", "https://evil.test", []visitor{alice}, 200, none},
		{"suffix", "GET /", "https://evil-shop.test", []visitor{alice}, 200, none},
		{"prefix", "GET /", "https://shop.test.evil.test", []visitor{alice}, 200, none},
		{"scheme", "GET /", "http://shop.test", []visitor{alice}, 200, none},
		{"port", "GET /", "https://shop.test:444", []visitor{alice}, 200, none},
		{"case", "GET /", "https://SHOP.test", []visitor{alice}, 200, none},
		{"null", "GET /", "null", []visitor{alice}, 200, none},
		{"star", "GET /", "*", []visitor{alice}, 200, none},
		{"list", "GET /", "https://shop.test, https://evil.test", []visitor{alice}, 200, none},
		{"two", "GET /", "", []visitor{alice, func(r *http.Request) {
			r.Header["Origin"] = []string{"https://shop.test", "https://evil.test"}
		}}, 200, none},
		{"line break", "GET /", "https://shop.test\r\nX: y", []visitor{alice}, 200, none},
	} {
		t.Run(row.name, func(t *testing.T) {
			was := next.served.Load()
			how := row.how
			if row.origin != "" {
				how = append(how, with("Origin", row.origin))
			}
			w := visit(h, row.what, "", how...)
			assert.Equal(t, row.status, w.Code)
			assert.Equal(t, row.fields, corsFields(w.Header()))
			assert.Contains(t, w.Header().Values("Vary"), "Origin", "caches must tell origins apart")
			assert.Equal(t, row.status == 200, next.served.Load() > was)
			if row.status == 200 {
				assert.Contains(t, w.Header().Values("Vary"), "Accept", "the handler's own")
			}
			if row.status == 204 {
				assert.Empty(t, w.Body.String())
			}
		})
	}
}

// Any origin is any, without credentials and without a word to caches.
func TestCORSForAll(t *testing.T) {
	h := inbound(t, tulle.Inbound{Guard: tulle.Guard{CORS: &tulle.CORS{
		AllowOrigins: []string{"*"}, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"}, ExposeHeaders: []string{"*"},
	}}}).Handler(&handled{})
	w := visit(h, "GET /", "", with("Origin", "https://any.test"))
	assert.Equal(t, map[string]string{"Origin": "*", "Expose": "*"}, corsFields(w.Header()))
	assert.NotContains(t, w.Header(), "Vary")
	w = visit(h, "OPTIONS /", "", with("Origin", "null"), with("Access-Control-Request-Method", "PUT"))
	assert.Equal(t, map[string]string{"Origin": "*", "Methods": "*", "Headers": "*"}, corsFields(w.Header()))
	// Without the policy the handler is asked, and says nothing.
	plain := &handled{}
	w = visit(inbound(t, tulle.Inbound{}).Handler(plain), "OPTIONS /", "", with("Origin", "null"), with("Access-Control-Request-Method", "PUT"))
	assert.Equal(t, 200, w.Code)
	assert.Empty(t, corsFields(w.Header()))
	assert.EqualValues(t, 1, plain.served.Load())
}
