//go:build linux

package otel_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// prometheus is a running one that scrapes an app.
type prometheus struct {
	*testing.T
	addr string
}

func startPrometheus(t *testing.T, target string) (prometheus, bool) {
	t.Helper()
	path, ok := program(t, "prometheus", "prometheus")
	if !ok {
		return prometheus{}, false
	}
	dir, addr := t.TempDir(), freeAddr(t)
	config := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
- job_name: app
  static_configs: [{targets: [%q]}]
`, target), 0o600))
	start(t, exec.Command(path, "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", addr, "--enable-feature=exemplar-storage"))
	eventually(t, func() bool {
		resp, err := http.Get("http://" + addr + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, "Prometheus is ready")
	return prometheus{t, addr}, true
}

// series is one element of an instant vector.
type series struct {
	Metric map[string]string
	Value  [2]any
}

func (p prometheus) query(expr string) (all []series) {
	p.Helper()
	var answer struct {
		Data struct{ Result []series }
	}
	body := fetch(p.T, "http://"+p.addr+"/api/v1/query?query="+url.QueryEscape(expr))
	require.NoError(p, json.Unmarshal([]byte(body), &answer), body)
	return answer.Data.Result
}

// value returns the value of a query that has one series.
func (p prometheus) value(expr string) string {
	p.Helper()
	all := p.query(expr)
	if len(all) != 1 {
		return fmt.Sprintf("%d series", len(all))
	}
	return all[0].Value[1].(string)
}

// nameOf returns the name that Prometheus has for a metric.
func nameOf(name, kind string) string {
	name = strings.ReplaceAll(name, ".", "_")
	switch {
	case kind == "counter":
		return name + "_total"
	case kind == "histogram":
		return name + "_seconds_count"
	case name == "tulle_discovery_failing", name == "tulle_keyset_age":
		return name + "_seconds"
	}
	return name
}

// Prometheus has every documented metric, under the name that dashboards and
// the rules of docs/alerts.yaml ask for, and with values that add up.
func TestPrometheus(t *testing.T) {
	app := startApp(t, "")
	p, ok := startPrometheus(t, app.addr)
	if !ok {
		return
	}
	app.callAll()
	for name, kind := range documented(t) {
		series := nameOf(name, kind)
		eventually(t, func() bool { return len(p.query(series)) > 0 }, series)
	}
	for expr, want := range map[string]string{
		`sum(tulle_call_duration_seconds_count{tulle_route="canary"})`:                                              "100",
		`sum(tulle_split_calls_total{tulle_route="canary"})`:                                                        "100",
		`tulle_endpoint_known{tulle_service="reviews",tulle_state="ejected"}`:                                       "1",
		`tulle_endpoint_known{tulle_service="reviews",tulle_state="available"}`:                                     "2",
		`tulle_endpoint_ejections_total{tulle_service="reviews",tulle_state="ejected"}`:                             "1",
		`tulle_breaker_state{tulle_service="ratings"}`:                                                              "2",
		`tulle_breaker_incidents_total{tulle_service="ratings"}`:                                                    "1",
		`tulle_call_local_total{tulle_reason="direct_response",tulle_route="gone"}`:                                 "2",
		`tulle_fault_injected_total{tulle_service="broken",tulle_fault="abort"}`:                                    "2",
		`sum(http_client_request_duration_seconds_count{server_address="reviews",http_response_status_code="503"})`: "3",
		`count(count by (le) (http_client_request_duration_seconds_bucket))`:                                        "15",
		`count(count by (le) (http_server_request_duration_seconds_bucket))`:                                        "15",
		`sum(http_server_request_duration_seconds_count{http_route="/call"})`:                                       "4",
		`tulle_inbound_refused_total{tulle_reason="unauthenticated"}`:                                               "1",
		`tulle_inbound_unauthenticated_total{tulle_rule="closed",tulle_fault="missing"}`:                            "1",
		`tulle_keyset_usable{tulle_keyset="http://127.0.0.1:1/keys"}`:                                               "0",
		`tulle_overload_limit{tulle_mode="enforce"}`:                                                                "100",
		// The scrape itself is under way while it is answered.
		`http_server_active_requests{http_request_method="GET",url_scheme="http"}`: "1",
	} {
		eventually(t, func() bool { return p.value(expr) == want }, fmt.Sprintf("%s is %s", expr, p.value(expr)))
	}
	body := fetch(t, "http://"+p.addr+"/api/v1/query_exemplars?query=http_client_request_duration_seconds_bucket&start=0&end=9999999999")
	assert.Contains(t, body, "trace_id")
	quantile := `histogram_quantile(0.95, sum by (le, server_address) (rate(http_client_request_duration_seconds_bucket[1m])))`
	eventually(t, func() bool { return len(p.query(quantile)) > 0 }, quantile)
	for _, s := range p.query(`{job="app",tulle_service!=""}`) {
		for label, v := range s.Metric {
			assert.False(t, label != "instance" && strings.Contains(v, "127.0.0.1"), "%v names an endpoint", s.Metric)
		}
	}
	// What is wrong here is what the rule finds.
	assert.Len(t, p.query(`max by (job, tulle_service) (tulle_breaker_state{tulle_mode="enforce"}) == 2`), 1)
}
