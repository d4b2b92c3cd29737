package telemetry

import (
	"context"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel/trace"

	"github.com/tulle-mesh/tulle/identity"
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
	all := append(make([]slog.Attr, 0, 16), slog.String("direction", "outbound"))
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

// access writes the line of a request that was served. It tells neither who
// the caller is nor what is in the header and the query.
func (s *Server) access(ctx context.Context, v *Served, route string) {
	log := s.recorder.log
	if log == nil {
		return
	}
	level := slog.LevelInfo
	if v.Panicked || v.Status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	if !log.Enabled(ctx, level) {
		return
	}
	all := append(make([]slog.Attr, 0, 16), slog.String("direction", "inbound"))
	text := func(name, value string) {
		if value != "" {
			all = append(all, slog.String(name, value))
		}
	}
	text("method", shown(v.Request.Method))
	text("host", shown(v.Request.Host))
	if u := v.Request.URL; u != nil {
		text("path", shown(redactPath(u.EscapedPath(), route)))
	}
	if v.Status != 0 {
		all = append(all, slog.Int("status", v.Status))
	}
	if v.Reason != outcome.NoReason {
		text("reason", v.Reason.String())
	}
	if v.Panicked {
		all = append(all, slog.Bool("panicked", true))
	}
	text("route", route)
	text("rule", v.Rule)
	if addr, ok := identity.PeerAddr(v.Request.RemoteAddr); ok {
		text("peer", addr.String())
	}
	if v.Principal != identity.Anonymous {
		text("principal", v.Principal.String())
	}
	all = append(all, slog.Int64("bytes", v.Bytes), slog.Duration("duration", v.Duration))
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		text("trace_id", sc.TraceID().String())
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
