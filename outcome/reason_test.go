package outcome_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/tulle-mesh/tulle/outcome"
)

// proxyErrorTypes are those of RFC 9209, section 2.3.
var proxyErrorTypes = []string{
	"dns_timeout", "dns_error", "destination_not_found", "destination_unavailable",
	"destination_ip_prohibited", "destination_ip_unroutable", "connection_refused",
	"connection_terminated", "connection_timeout", "connection_read_timeout",
	"connection_write_timeout", "connection_limit_reached", "tls_protocol_error",
	"tls_certificate_error", "tls_alert_received", "http_request_error",
	"http_request_denied", "http_response_incomplete",
	"http_response_header_section_size", "http_response_header_size",
	"http_response_body_size", "http_response_trailer_section_size",
	"http_response_trailer_size", "http_response_transfer_coding",
	"http_response_content_coding", "http_response_timeout", "http_upgrade_failed",
	"http_protocol_error", "proxy_internal_response", "proxy_internal_error",
	"proxy_configuration_error", "proxy_loop_detected",
}

func TestReasons(t *testing.T) {
	all := outcome.Reasons()
	if len(all) == 0 || slices.Contains(all, outcome.NoReason) || all[len(all)-1] != outcome.Internal {
		t.Fatal(all)
	}
	names, texts := map[string]bool{outcome.NoReason.String(): true}, map[string]bool{}
	for _, r := range all {
		text, err := r.MarshalText()
		if err != nil || string(text) != r.String() || !labelled(r.String()) || names[r.String()] {
			t.Errorf("%d: name %q, %v", r, text, err)
		}
		names[r.String()] = true
		if r.Text() == "" || texts[r.Text()] {
			t.Errorf("%v: text %q", r, r.Text())
		}
		texts[r.Text()] = true
		if !slices.Contains(proxyErrorTypes, r.ProxyStatus()) {
			t.Errorf("%v: %q is no error type of RFC 9209", r, r.ProxyStatus())
		}
		configured := r == outcome.Redirected || r == outcome.DirectResponse
		if s := r.Status(); s < 200 || s > 599 || s < 400 != configured {
			t.Errorf("%v: status %d", r, s)
		}
		if http.StatusText(r.Status()) == "" && r != outcome.Cancelled {
			t.Errorf("%v: status %d is not registered", r, r.Status())
		}
	}
	if outcome.NoReason.ProxyStatus() != "" || outcome.NoReason.String() != "none" {
		t.Error("the absence of a reason says something")
	}
}

func TestUnknownReasonIsInternal(t *testing.T) {
	const unknown = outcome.Reason(250)
	if unknown.String() != "internal" || unknown.Status() != http.StatusInternalServerError ||
		unknown.ProxyStatus() != "proxy_internal_error" || unknown.Text() == "" {
		t.Error(unknown, unknown.Status(), unknown.ProxyStatus())
	}
}
