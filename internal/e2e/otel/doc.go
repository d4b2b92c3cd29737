// Package otel holds telemetry to what watches it in earnest: OpenTelemetry's
// SDK, a Collector, and Prometheus with the alert rules of docs/alerts.yaml.
//
// The Collector and the program it listens to are built by the tests from
// collector and app; prometheus and promtool are those of the machine. Where
// they are missing, tests fail if CI is set and say so otherwise.
package otel
