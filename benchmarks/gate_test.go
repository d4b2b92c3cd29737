package benchmarks

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httprate"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
)

// Who may call, and with whose token.
const (
	tokenIssuer   = "https://issuer.example"
	tokenAudience = "reviews"
	tokenSubject  = "alice"
)

// door is what a guarded handler is told: whose tokens to accept, how many
// requests a second an address may make, and how many there may be at once.
type door struct {
	key          *rsa.PrivateKey
	rate, places int
}

// token returns a token of a caller, of RS256.
func (d door) token(tb testing.TB, subject string, expires time.Time) string {
	tb.Helper()
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": tokenIssuer, "aud": tokenAudience, "sub": subject, "exp": expires.Unix(), "scope": "read write", "tenant": "shop",
	})
	t.Header["kid"] = "k"
	text, err := t.SignedString(d.key)
	require.NoError(tb, err)
	return text
}

func (d door) keySet() string {
	text := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	return fmt.Sprintf(`{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"k","n":%q,"e":%q}]}`,
		text(d.key.N), text(big.NewInt(int64(d.key.E))))
}

// gate is one row: what is put around a handler.
type gate struct {
	name string
	wrap func(testing.TB, door, http.Handler) http.Handler
	// What the row does; TestGates holds it to each of these, and to the
	// absence of the others.
	authenticates, authorizes, limits, bounds, traces, reports bool
}

func gates() []gate {
	return []gate{
		{name: "bare", wrap: func(_ testing.TB, _ door, h http.Handler) http.Handler { return h }},
		{
			name: "tulle",
			wrap: func(tb testing.TB, _ door, h http.Handler) http.Handler { return front(tb, tulle.Inbound{}, h) },
		},
		{
			name: "tulle+jwt",
			wrap: func(tb testing.TB, d door, h http.Handler) http.Handler {
				return front(tb, tulle.Inbound{Guard: tulle.Guard{Authn: d.authn(0)}}, h)
			},
			authenticates: true,
		},
		{
			name: "tulle+limit",
			wrap: func(tb testing.TB, d door, h http.Handler) http.Handler {
				return front(tb, tulle.Inbound{Guard: tulle.Guard{RateLimit: d.limit()}}, h)
			},
			limits: true,
		},
		{
			name:          "tulle+guarded",
			wrap:          func(tb testing.TB, d door, h http.Handler) http.Handler { return front(tb, d.guarded(0), h) },
			authenticates: true, authorizes: true, limits: true, bounds: true, reports: true,
		},
		{
			name: "tulle+guarded+otel",
			wrap: func(tb testing.TB, d door, h http.Handler) http.Handler {
				return front(tb, d.guarded(0), h,
					tulle.WithTracerProvider(nooptrace.NewTracerProvider()), tulle.WithMeterProvider(noopmetric.NewMeterProvider()))
			},
			authenticates: true, authorizes: true, limits: true, bounds: true, traces: true, reports: true,
		},
		{
			name: "tulle+guarded+otel+uncached",
			wrap: func(tb testing.TB, d door, h http.Handler) http.Handler {
				return front(tb, d.guarded(-1), h,
					tulle.WithTracerProvider(nooptrace.NewTracerProvider()), tulle.WithMeterProvider(noopmetric.NewMeterProvider()))
			},
			authenticates: true, authorizes: true, limits: true, bounds: true, traces: true, reports: true,
		},
		{
			name:   "httprate",
			wrap:   func(_ testing.TB, d door, h http.Handler) http.Handler { return d.httprate(h) },
			limits: true,
		},
		{
			name:   "otelhttp",
			wrap:   func(_ testing.TB, _ door, h http.Handler) http.Handler { return tracedHandler(h) },
			traces: true,
		},
		{
			name:          "golang-jwt",
			wrap:          func(_ testing.TB, d door, h http.Handler) http.Handler { return d.golangJWT(h, nil) },
			authenticates: true,
		},
		{
			// What services are commonly put together of.
			name: "otelhttp+httprate+throttle+golang-jwt",
			wrap: func(_ testing.TB, d door, h http.Handler) http.Handler {
				return tracedHandler(d.httprate(middleware.Throttle(d.places)(d.golangJWT(h, nil))))
			},
			authenticates: true, limits: true, bounds: true, traces: true,
		},
		{
			// The same with a memory for tokens, the simplest there is.
			name: "otelhttp+httprate+throttle+golang-jwt+map",
			wrap: func(_ testing.TB, d door, h http.Handler) http.Handler {
				return tracedHandler(d.httprate(middleware.Throttle(d.places)(d.golangJWT(h, &sync.Map{}))))
			},
			authenticates: true, limits: true, bounds: true, traces: true,
		},
	}
}

// front returns the handler of a mesh.
func front(tb testing.TB, in tulle.Inbound, h http.Handler, opts ...tulle.Option) http.Handler {
	tb.Helper()
	m, err := tulle.New(tulle.Config{Inbound: in}, opts...)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = m.Shutdown(context.Background()) })
	return m.Handler(h)
}

// authn accepts the tokens of the door; remember is Policy.CacheEntries.
func (d door) authn(remember int) *authn.Policy {
	return &authn.Policy{
		Issuers:      []authn.Issuer{{Issuer: tokenIssuer, Audiences: []string{tokenAudience}, Algorithms: []string{"RS256"}, JWKS: d.keySet()}},
		CacheEntries: remember,
	}
}

func (d door) limit() *ratelimit.Config {
	return &ratelimit.Config{Policies: []ratelimit.Policy{{Name: "address", Requests: int64(d.rate), Key: ratelimit.Key{Source: true}}}}
}

// guarded has every stage that there is.
func (d door) guarded(remember int) tulle.Inbound {
	return tulle.Inbound{
		Strip:    []string{"X-User"},
		Overload: &overload.Policy{MaxInFlight: d.places, Waiting: -1},
		Guard: tulle.Guard{
			RateLimit: d.limit(),
			Authn:     d.authn(remember),
			Authz: &authz.Policy{Rules: []authz.Rule{{
				Name: "readers", Action: authz.Allow,
				From: []authz.Source{{Principals: []string{tokenSubject}, Issuers: []string{tokenIssuer}}},
				To:   []authz.Operation{{Methods: []string{http.MethodGet}, Paths: []authz.Path{{Prefix: "/reviews"}}}},
			}}},
		},
	}
}

func (d door) httprate(h http.Handler) http.Handler {
	return httprate.LimitBy(d.rate, time.Second, func(r *http.Request) (string, error) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		return httprate.CanonicalizeIP(host), err
	})(h)
}

func tracedHandler(h http.Handler) http.Handler {
	return otelhttp.NewHandler(h, "reviews",
		otelhttp.WithTracerProvider(nooptrace.NewTracerProvider()),
		otelhttp.WithMeterProvider(noopmetric.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.TraceContext{}))
}

type claimsKey struct{}

// golangJWT is the middleware that one writes around golang-jwt. Tokens that
// have been verified are kept in known, without a bound, if it is not nil.
func (d door) golangJWT(next http.Handler, known *sync.Map) http.Handler {
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(tokenIssuer),
		jwt.WithAudience(tokenAudience), jwt.WithExpirationRequired(), jwt.WithLeeway(30*time.Second))
	public := func(t *jwt.Token) (any, error) {
		if t.Header["kid"] != "k" {
			return nil, errors.New("unknown key")
		}
		return &d.key.PublicKey, nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		var claims *jwt.RegisteredClaims
		if known != nil {
			if v, ok := known.Load(text); ok && time.Now().Before(v.(*jwt.RegisteredClaims).ExpiresAt.Time) {
				claims = v.(*jwt.RegisteredClaims)
			}
		}
		if claims == nil {
			claims = &jwt.RegisteredClaims{}
			if _, err := parser.ParseWithClaims(text, claims, public); err != nil {
				http.Error(w, "bad token", http.StatusUnauthorized)
				return
			}
			if known != nil {
				known.Store(text, claims)
			}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
	})
}
