//go:build !race

package telemetry_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/tulle-mesh/tulle/outcome"
	"github.com/tulle-mesh/tulle/telemetry"
)

// Without a tracer nothing is allocated, whether metrics are on or not and
// whether a line of the log is wanted or not.
func TestRecordingDoesNotAllocate(t *testing.T) {
	quiet := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	for name, s := range map[string]*telemetry.Scope{
		"nothing": nil,
		"metrics": scope(t, telemetry.Options{Meters: noop.NewMeterProvider()}),
		"log off": scope(t, telemetry.Options{AccessLog: quiet}),
	} {
		record := once(s)
		assert.Zero(t, testing.AllocsPerRun(1000, record), name)
	}
}

// The same goes for what is served.
func TestServingDoesNotAllocate(t *testing.T) {
	quiet := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	for name, s := range map[string]*telemetry.Server{
		"nothing": nil,
		"metrics": server(t, telemetry.Options{Meters: noop.NewMeterProvider()}),
		"log off": server(t, telemetry.Options{AccessLog: quiet}),
	} {
		r := incoming("GET", "/reviews/7")
		assert.Zero(t, testing.AllocsPerRun(1000, func() {
			ctx := s.Start(r.Context(), r, true)
			s.Done(ctx, telemetry.Served{Request: r, Pattern: "GET /reviews/{id}", Status: 200, Duration: time.Millisecond})
		}), name)
	}
}

func once(s *telemetry.Scope) func() {
	r, resp := request("GET", "http://reviews.test/"), response(200)
	return func() {
		ctx, call := s.StartCall(context.Background(), r, false)
		_, span := s.StartAttempt(ctx, call, r, 1, "10.0.0.1:80")
		s.Attempted(span, telemetry.Attempt{Request: r, Response: resp, Result: outcome.Result{Latency: time.Millisecond}})
		span.End()
		s.Done(call, telemetry.Call{Request: r, Status: 200, Duration: time.Millisecond, Attempts: 1})
	}
}

func BenchmarkRecord(b *testing.B) {
	for name, s := range map[string]*telemetry.Scope{
		"off": nil, "metrics": scope(b, telemetry.Options{Meters: noop.NewMeterProvider()}),
	} {
		b.Run(name, func(b *testing.B) {
			record := once(s)
			b.ReportAllocs()
			for b.Loop() {
				record()
			}
		})
	}
}
