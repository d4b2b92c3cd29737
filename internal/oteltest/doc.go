// Package oteltest records spans and metrics for tests of the core module,
// which knows OpenTelemetry's API and not its SDK. What the SDK makes of the
// same calls is tested in internal/e2e/otel.
package oteltest
