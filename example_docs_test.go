package tulle_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/authz"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/retry"
)

// The guides in docs quote what stands here.

// run serves app until ctx ends, and what is to be known of the process on a
// listener of its own.
func run(ctx context.Context, mesh *tulle.Mesh, app http.Handler, calls, admin net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /ready", mesh.ReadyHandler())
	mux.Handle("GET /live", mesh.LiveHandler())
	mux.Handle("GET /mesh", mesh.Debug())
	about := &http.Server{Handler: mux}
	go about.Serve(admin)

	err := mesh.ServeListener(ctx, &http.Server{Handler: app}, calls)

	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(err, mesh.Shutdown(last), about.Close())
}

// listener returns the socket that systemd has passed, or listens on addr.
func listener(addr string) (net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") != "1" {
		return net.Listen("tcp", addr)
	}
	f := os.NewFile(3, "systemd")
	defer f.Close()
	return net.FileListener(f)
}

// A process under Kubernetes or systemd is told to stop by SIGTERM.
func Example_serve() {
	mesh, err := tulle.New(tulle.Config{Inbound: tulle.Inbound{Grace: -1}})
	if err != nil {
		log.Fatal(err)
	}
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	calls, err := listener("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, mesh, app, calls, admin) }()

	for _, url := range []string{"http://" + admin.Addr().String() + "/ready", "http://" + calls.Addr().String()} {
		resp, err := http.Get(url)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(resp.StatusCode, strings.TrimSpace(string(body)))
	}
	stop() // as the signal does
	fmt.Println("ended:", <-ended)
	// Output:
	// 200 ready
	// 200 hello
	// ended: <nil>
}

// How long a process has to be given for stopping.
func Example_stopping() {
	mesh, err := tulle.New(tulle.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer mesh.Shutdown(context.Background())
	const shutdown, margin = 5 * time.Second, 5 * time.Second

	in := mesh.State().Inbound
	least := in.Grace + in.DrainTimeout + shutdown + margin

	fmt.Println(in.Grace, "+", in.DrainTimeout, "+", shutdown, "+", margin, "=", least)
	// Output: 5s + 30s + 5s + 5s = 45s
}

// shop is the configuration of a service under Kubernetes.
func shop() tulle.Config {
	return tulle.Config{
		Services: []tulle.Service{{
			Name:     "reviews",
			Hosts:    []string{"reviews", "reviews.shop", "reviews.shop.svc.cluster.local"},
			Resolver: discovery.DNS{Host: "reviews-endpoints.shop.svc.cluster.local.", Port: 9080},
		}},
		Policies: tulle.Recommended(),
		Zone:     os.Getenv("ZONE"),
	}
}

func Example_kubernetes() {
	fmt.Println(shop().Validate())
	// Output: <nil>
}

// machines is the configuration of a service whose endpoints stand in a file.
func machines() tulle.Config {
	return tulle.Config{
		Services: []tulle.Service{{
			Name: "reviews",
			Resolver: discovery.Guard{
				Source: discovery.File{Path: "/etc/shop/reviews.json"},
			},
		}},
		Policies: tulle.Recommended(),
	}
}

func Example_systemd() {
	fmt.Println(machines().Validate())
	// Output: <nil>
}

// inZone puts the endpoints that a resolver finds into a zone.
type inZone struct {
	found discovery.Resolver
	zone  string
}

func (z inZone) Watch(ctx context.Context) iter.Seq2[[]endpoint.Info, error] {
	return func(yield func([]endpoint.Info, error) bool) {
		for infos, err := range z.found.Watch(ctx) {
			infos = slices.Clone(infos)
			for i := range infos {
				infos[i].Zone = z.zone
			}
			if !yield(infos, err) {
				return
			}
		}
	}
}

// Each zone has a name of its own in DNS; here it is a list.
func Example_zones() {
	a, stopA := start("from zone a")
	defer stopA()
	b, stopB := start("from zone b")
	defer stopB()
	inA, inB := discovery.Addrs(a), discovery.Addrs(b)

	reviews := tulle.Service{
		Name:     "reviews",
		Resolver: discovery.Merge(inZone{inA, "a"}, inZone{inB, "b"}),
		Spread:   balancer.Spread{Zones: balancer.NearestZone},
	}
	mesh, err := tulle.New(tulle.Config{Services: []tulle.Service{reviews}, Zone: "a"})
	if err != nil {
		log.Fatal(err)
	}
	defer mesh.Shutdown(context.Background())
	for range 3 {
		resp, err := mesh.Client().Get("http://reviews/")
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(string(body))
	}
	// Output:
	// from zone a
	// from zone a
	// from zone a
}

// A certificate that somebody renews is read anew.
func Example_certificates() {
	dir, err := os.MkdirTemp("", "certificates")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	leaf := issued(dir)

	certificate, err := tulle.LoadCertificateFiles(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{TLSConfig: &tls.Config{GetCertificate: certificate.GetCertificate}}

	c, err := server.TLSConfig.GetCertificate(&tls.ClientHelloInfo{})
	fmt.Println(err, string(c.Certificate[0]) == string(leaf))
	// Output: <nil> true
}

// issued writes a certificate and its key into files and returns the former.
func issued(dir string) []byte {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	c := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		log.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	return c.Certificate[0]
}

// The first step of adoption: nothing is changed, everything is counted.
func Example_wrap() {
	addr, stop := start("hello")
	defer stop()
	client := &http.Client{Timeout: 10 * time.Second}

	mesh, err := tulle.New(tulle.Config{}, tulle.WithTransport(client.Transport))
	if err != nil {
		log.Fatal(err)
	}
	client.Transport = mesh.Transport()

	resp, err := client.Get("http://" + addr)
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.Status, "unknown hosts:", mesh.State().Unknown.Passed)
	// Output: 200 OK unknown hosts: 1
}

// What policies would do is seen before they do it.
func Example_observe() {
	fails := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer fails.Close()
	reviews := tulle.Service{Name: "reviews", Resolver: discovery.Addrs(fails.Listener.Addr().String())}

	mesh, err := tulle.New(tulle.Config{
		Services: []tulle.Service{reviews},
		Policies: tulle.Policies{
			Retry:    &retry.Policy{Mode: outcome.Observe},
			Outliers: &health.Outliers{Mode: outcome.Observe},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer mesh.Shutdown(context.Background())
	for range 3 {
		resp, err := mesh.Client().Get("http://reviews/")
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
	}
	fmt.Println(mesh.Report())
	// Output:
	// service reviews: outliers would have had to send elsewhere 0, of which 0 succeeded
	// service reviews: retry would have had to repeat 3, of which 0 succeeded
}

// policies are what a chain of failsafe-go policies becomes.
func policies() tulle.Policies {
	return tulle.Policies{
		Timeout: 2 * time.Second,
		Retry:   &retry.Policy{Attempts: 3, PerTry: 500 * time.Millisecond},
		Breaker: &breaker.Policy{FailureRate: 0.5, MinCalls: 20, OpenFor: 5 * time.Second},
		Limit:   &breaker.Limit{InFlight: 100},
	}
}

func Example_policies() {
	fmt.Println(policies())
	// Output: timeout 2s, 3 attempts (enforce), breaker (enforce), limit (enforce)
}

// carried is what the settings of a go-retryablehttp client become, functions
// and all.
func carried() *retry.Policy {
	return &retry.Policy{
		Attempts:   5, // RetryMax counts without the first
		CheckRetry: retryablehttp.DefaultRetryPolicy,
		Backoff: retry.Backoff{
			Base: 200 * time.Millisecond,
			Max:  2 * time.Second,
			Func: retryablehttp.LinearJitterBackoff,
		},
	}
}

func Example_retryablehttp() {
	fmt.Println(carried().Validate())
	// Output: <nil>
}

// guarded is what requests to a service are subject to.
func guarded() tulle.Inbound {
	return tulle.Inbound{
		Overload: &overload.Policy{},
		Guard: tulle.Guard{
			Timeout: 5 * time.Second,
			Body:    &tulle.BodyLimit{MaxBytes: 1 << 20},
			RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{
				{Name: "address", Requests: 50, Key: ratelimit.Key{Source: true}},
			}},
			Authn: &authn.Policy{Issuers: []authn.Issuer{{
				Issuer:    "https://issuer.example",
				Audiences: []string{"reviews"},
				JWKSURL:   "https://issuer.example/jwks.json",
			}}},
			Authz: &authz.Policy{Rules: []authz.Rule{{
				Name:   "only editors write",
				Action: authz.Deny,
				To:     []authz.Operation{{NotMethods: []string{"GET", "HEAD"}}},
				When:   []authz.Condition{{Claim: "role", NotValues: []string{"editor"}}},
			}}},
		},
		Rules: []tulle.Rule{{
			Name:  "public",
			Match: []match.Request{{Path: match.Path{Prefix: "/docs"}}},
			Guard: tulle.Guard{Anonymous: &tulle.Anonymous{}},
		}},
	}
}

func Example_inbound() {
	in := guarded()
	// No issuer is asked here: its key is written down.
	public, err := x509.MarshalPKIXPublicKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public())
	if err != nil {
		log.Fatal(err)
	}
	issuer := &in.Guard.Authn.Issuers[0]
	issuer.JWKSURL, issuer.JWKS = "", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	mesh, err := tulle.New(tulle.Config{Inbound: in})
	if err != nil {
		log.Fatal(err)
	}
	defer mesh.Shutdown(context.Background())
	app := mesh.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))

	for _, ask := range []struct{ method, path, body string }{
		{"GET", "/docs/start", ""}, {"POST", "/docs/start", ""}, {"GET", "/reviews/7", ""},
		{"POST", "/reviews/7", strings.Repeat("long", 1<<20)},
	} {
		w := httptest.NewRecorder()
		app.ServeHTTP(w, httptest.NewRequest(ask.method, ask.path, strings.NewReader(ask.body)))
		fmt.Println(ask.method, ask.path, w.Code, http.StatusText(w.Code))
	}
	// Output:
	// GET /docs/start 200 OK
	// POST /docs/start 403 Forbidden
	// GET /reviews/7 401 Unauthorized
	// POST /reviews/7 413 Request Entity Too Large
}
