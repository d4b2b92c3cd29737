//go:build linux

// Command app calls through a mesh, and serves behind it, and tells of both as
// a service would: by OTLP to a collector, and as metrics for Prometheus.
//
// It serves /metrics, /call?url=U&n=N, which makes N calls and says what came
// of them, and /closed, which wants a token that nobody has. The first line
// that it writes is the address it listens at.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/authn"
	"github.com/tulle-mesh/tulle/balancer"
	"github.com/tulle-mesh/tulle/breaker"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/health"
	"github.com/tulle-mesh/tulle/match"
	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/overload"
	"github.com/tulle-mesh/tulle/ratelimit"
	"github.com/tulle-mesh/tulle/routing"
)

func main() {
	collector := flag.String("collector", "", "address of a collector's OTLP over HTTP, none if empty")
	reviews := flag.String("reviews", "", "addresses of the service reviews, with commas")
	next := flag.String("next", "", "address of the service next")
	ratings := flag.String("ratings", "", "address of the service ratings")
	flag.Parse()
	if err := run(*collector, strings.Split(*reviews, ","), *next, *ratings); err != nil {
		log.Fatal(err)
	}
}

func run(collector string, reviews []string, next, ratings string) error {
	ctx := context.Background()
	registry := prometheus.NewRegistry()
	exporter, err := otelprom.New(otelprom.WithRegisterer(registry))
	if err != nil {
		return err
	}
	readers, spans := []metric.Option{metric.WithReader(exporter)}, []trace.TracerProviderOption{}
	if collector != "" {
		traces, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpoint(collector), otlptracehttp.WithInsecure())
		if err != nil {
			return err
		}
		metrics, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpoint(collector), otlpmetrichttp.WithInsecure())
		if err != nil {
			return err
		}
		spans = append(spans, trace.WithBatcher(traces, trace.WithBatchTimeout(100*time.Millisecond)))
		readers = append(readers, metric.WithReader(metric.NewPeriodicReader(metrics, metric.WithInterval(200*time.Millisecond))))
	}
	c := config(reviews, next, ratings)
	if c.Inbound, err = inbound(); err != nil {
		return err
	}
	m, err := tulle.New(c,
		tulle.WithTracerProvider(trace.NewTracerProvider(spans...)), tulle.WithMeterProvider(metric.NewMeterProvider(readers...)))
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	http.HandleFunc("/call", func(w http.ResponseWriter, r *http.Request) { call(w, r, m.Client()) })
	return http.Serve(ln, m.Handler(nil))
}

// inbound has something of everything that is counted.
func inbound() (tulle.Inbound, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tulle.Inbound{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return tulle.Inbound{}, err
	}
	return tulle.Inbound{
		Overload: &overload.Policy{MaxInFlight: 100},
		Guard: tulle.Guard{
			Body:      &tulle.BodyLimit{Mode: outcome.Observe, MaxBytes: 1 << 20},
			RateLimit: &ratelimit.Config{Policies: []ratelimit.Policy{{Name: "many", Requests: 1 << 20}}},
		},
		Rules: []tulle.Rule{{
			Name: "closed", Match: []match.Request{{Path: match.Path{Exact: "/closed"}}},
			Guard: tulle.Guard{Authn: &authn.Policy{Issuers: []authn.Issuer{
				{
					Issuer: "https://id.test", Audiences: []string{"app"},
					JWKS: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
				},
				{Issuer: "https://gone.test", Audiences: []string{"app"}, JWKSURL: "http://127.0.0.1:1/keys", PlainHTTP: true},
			}}},
		}},
	}, nil
}

func config(reviews []string, next, ratings string) tulle.Config {
	host := func(name string) []match.Request { return []match.Request{{Hosts: []string{name}}} }
	policies := tulle.Recommended()
	policies.Outliers = &health.Outliers{Consecutive5xx: 3, ConsecutiveGatewayFailure: 3, BaseEjectionTime: time.Minute}
	policies.Breaker = &breaker.Policy{Consecutive: 5, OpenFor: time.Minute}
	policies.Limit = &breaker.Limit{InFlight: 100}
	return tulle.Config{
		Services: []tulle.Service{
			// In turns, so that the bad one fails often enough to be ejected.
			{Name: "reviews", Resolver: discovery.Addrs(reviews...), Balancer: balancer.RoundRobin{}},
			{Name: "next", Resolver: discovery.Addrs(next)},
			{Name: "ratings", Resolver: discovery.Addrs(ratings)},
			{Name: "broken", Resolver: discovery.Addrs(next), Policies: tulle.Policies{
				Fault: &fault.Policy{Abort: &fault.Abort{Percent: 100, Status: http.StatusTeapot}},
			}},
		},
		Routes: []tulle.Route{
			{
				Name: "canary", Match: host("reviews"), Mirrors: []tulle.Mirror{{Service: "next"}},
				Split: []tulle.Destination{{Service: "reviews", Weight: 3}, {Service: "next", Weight: 1}},
			},
			{Name: "gone", Match: host("gone"), Filters: routing.Filters{Direct: &routing.Direct{Status: http.StatusGone}}},
		},
		Policies: policies,
	}
}

// call makes calls one after the other and writes a line for each.
func call(w http.ResponseWriter, r *http.Request, client *http.Client) {
	n, err := strconv.Atoi(r.FormValue("n"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for range min(n, 10_000) {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.FormValue("url"), nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		resp, err := client.Do(req)
		if err != nil {
			fmt.Fprintln(w, err)
			continue
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		fmt.Fprintln(w, resp.Status)
	}
}
