package telemetry

import (
	"context"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle/outcome"
)

// access writes the line of a call. It has no header and no query: what is in
// them may be secret.
func (s *Scope) access(ctx context.Context, c *Call) {
	log := s.recorder.log
	if log == nil {
		return
	}
	level := severity(c)
	if !log.Enabled(ctx, level) {
		return
	}
	all := make([]slog.Attr, 0, 16)
	text := func(name, value string) {
		if value != "" {
			all = append(all, slog.String(name, value))
		}
	}
	method := c.Request.Method
	if method == "" {
		method = http.MethodGet
	}
	text("method", method)
	if u := c.Request.URL; u != nil {
		text("host", u.Host)
		text("path", u.EscapedPath())
	}
	if c.Status != 0 {
		all = append(all, slog.Int("status", c.Status))
	}
	if c.Reason != outcome.NoReason {
		text("reason", c.Reason.String())
	}
	text("service", s.labels.Service)
	text("subset", s.labels.Subset)
	text("route", s.labels.Route)
	text("endpoint", c.Endpoint)
	all = append(all, slog.Int("attempts", c.Attempts), slog.Duration("duration", c.Duration))
	if c.Mirrored {
		all = append(all, slog.Bool("mirrored", true))
	}
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		text("trace_id", sc.TraceID().String())
	}
	if c.Err != nil {
		text("error", c.Err.Error())
	}
	log.LogAttrs(ctx, level, "call", all...)
}

// severity says how much a call deserves attention. That a caller went away
// does not, and neither does a copy.
func severity(c *Call) slog.Level {
	bad := c.Err != nil && c.Reason != outcome.Cancelled || c.Status >= 500 || c.Status == 0 && c.Err == nil || c.Class.Failed()
	if bad && !c.Mirrored {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
