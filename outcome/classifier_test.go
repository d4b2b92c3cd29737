package outcome_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/outcome"
)

var (
	_ outcome.EndClassifier = outcome.HTTP{}
	_ outcome.EndClassifier = outcome.GRPC{}
)

func TestHTTPClasses(t *testing.T) {
	want := func(status int) outcome.Class {
		switch status {
		case 429:
			return outcome.Overload
		case 502, 503, 504:
			return outcome.Gateway
		}
		if status >= 500 {
			return outcome.ServerError
		}
		return outcome.Success
	}
	for status := 100; status <= 599; status++ {
		got := outcome.HTTP{}.Classify(&http.Response{StatusCode: status}, nil)
		if got != (outcome.Outcome{Class: want(status), Status: status}) {
			t.Errorf("%d: %+v", status, got)
		}
	}
}

func TestHTTPErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want outcome.Outcome
	}{
		{"cancelled", fmt.Errorf("x: %w", context.Canceled), outcome.Outcome{Class: outcome.Neutral}},
		{"cancelled while dialling", &outcome.UnsentError{Err: context.Canceled}, outcome.Outcome{Class: outcome.Neutral, Unsent: true}},
		{"deadline", context.DeadlineExceeded, outcome.Outcome{Class: outcome.Timeout}},
		{"deadline while dialling", &outcome.UnsentError{Err: context.DeadlineExceeded}, outcome.Outcome{Class: outcome.Connect, Unsent: true}},
		{"time-out of the system", os.ErrDeadlineExceeded, outcome.Outcome{Class: outcome.Timeout}},
		{"broken off", io.ErrUnexpectedEOF, outcome.Outcome{Class: outcome.Reset}},
		{"own body", &outcome.RequestBodyError{Err: io.ErrUnexpectedEOF}, outcome.Outcome{Class: outcome.Neutral}},
		{"own body late", &outcome.RequestBodyError{Err: os.ErrDeadlineExceeded}, outcome.Outcome{Class: outcome.Neutral}},
		{"nothing", nil, outcome.Outcome{Class: outcome.Neutral}},
	} {
		if got := (outcome.HTTP{}).Classify(nil, c.err); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if got := (outcome.GRPC{}).Classify(nil, c.err); got != c.want {
			t.Errorf("%s, gRPC: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestEndOfBody(t *testing.T) {
	reset := errors.New("connection reset")
	for _, c := range []struct {
		name  string
		first outcome.Class
		err   error
		want  outcome.Class
	}{
		{"whole", outcome.Success, nil, outcome.Success},
		{"broken", outcome.Success, reset, outcome.Reset},
		{"broken overload", outcome.Overload, reset, outcome.Reset},
		{"a failure stays the one it was", outcome.Gateway, reset, outcome.Gateway},
		{"reader gone", outcome.Success, context.Canceled, outcome.Success},
		{"reader out of time", outcome.Success, context.DeadlineExceeded, outcome.Success},
		{"caller's upload broke", outcome.Success, &outcome.RequestBodyError{Err: reset}, outcome.Success},
		{"stalled", outcome.Success, os.ErrDeadlineExceeded, outcome.Timeout},
	} {
		first := outcome.Outcome{Class: c.first, Status: 200}
		want := outcome.Outcome{Class: c.want, Status: 200}
		for _, k := range []outcome.EndClassifier{outcome.HTTP{}, outcome.GRPC{}} {
			if got := k.ClassifyEnd(first, &http.Response{}, c.err); got != want {
				t.Errorf("%s, %T: %+v, want %+v", c.name, k, got, want)
			}
		}
	}
}

var grpcClasses = map[string]outcome.Class{
	"0":  outcome.Success,     // OK
	"1":  outcome.Neutral,     // CANCELLED
	"2":  outcome.ServerError, // UNKNOWN
	"3":  outcome.Success,     // INVALID_ARGUMENT
	"4":  outcome.Timeout,     // DEADLINE_EXCEEDED
	"5":  outcome.Success,     // NOT_FOUND
	"6":  outcome.Success,     // ALREADY_EXISTS
	"7":  outcome.Success,     // PERMISSION_DENIED
	"8":  outcome.Overload,    // RESOURCE_EXHAUSTED
	"9":  outcome.Success,     // FAILED_PRECONDITION
	"10": outcome.Success,     // ABORTED
	"11": outcome.Success,     // OUT_OF_RANGE
	"12": outcome.ServerError, // UNIMPLEMENTED
	"13": outcome.ServerError, // INTERNAL
	"14": outcome.Gateway,     // UNAVAILABLE
	"15": outcome.ServerError, // DATA_LOSS
	"16": outcome.Success,     // UNAUTHENTICATED

	"17": outcome.ServerError, "-1": outcome.ServerError, "": outcome.ServerError,
	"ok": outcome.ServerError, "99999999999": outcome.ServerError,
}

// grpcServer answers /headers/CODE with the status in the headers and no
// body, as "Trailers-Only", and any other path with it in the trailers.
func grpcServer(t *testing.T, http2 bool) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		code, early := strings.CutPrefix(r.URL.Path, "/headers/")
		if early {
			w.Header().Set("Grpc-Status", code)
			return
		}
		_, _ = io.WriteString(w, "message")
		_ = http.NewResponseController(w).Flush()
		if code, ok := strings.CutPrefix(r.URL.Path, "/trailers/"); ok {
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", code)
		}
	}))
	server.EnableHTTP2 = http2
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestGRPCOverHTTP1(t *testing.T) { testGRPC(t, grpcServer(t, false), 1) }
func TestGRPCOverHTTP2(t *testing.T) { testGRPC(t, grpcServer(t, true), 2) }

func testGRPC(t *testing.T, server *httptest.Server, major int) {
	call := func(path string) (headers, end outcome.Outcome) {
		t.Helper()
		resp, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if resp.ProtoMajor != major {
			t.Fatal(resp.Proto)
		}
		headers = outcome.GRPC{}.Classify(resp, nil)
		_, err = io.Copy(io.Discard, resp.Body)
		end = outcome.GRPC{}.ClassifyEnd(headers, resp, err)
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return headers, end
	}
	for code, class := range grpcClasses {
		want := outcome.Outcome{Class: class, Status: 200}
		if headers, end := call("/headers/" + code); headers != want || end != want {
			t.Errorf("Trailers-Only %q: %+v, then %+v, want %+v", code, headers, end, want)
		}
		if code == "" {
			continue // net/http sends no empty trailer
		}
		headers, end := call("/trailers/" + code)
		if headers != (outcome.Outcome{Class: outcome.Success, Status: 200}) || end != want {
			t.Errorf("trailers %q: %+v, then %+v, want %+v", code, headers, end, want)
		}
	}
	if headers, end := call("/"); headers.Class != outcome.Success || end != headers {
		t.Errorf("no status: %+v, then %+v", headers, end)
	}
}

func TestGRPCWithoutStatusIsHTTP(t *testing.T) {
	for _, status := range []int{200, 404, 429, 500, 503} {
		resp := &http.Response{StatusCode: status}
		want := outcome.HTTP{}.Classify(resp, nil)
		got := outcome.GRPC{}.Classify(resp, nil)
		if end := (outcome.GRPC{}).ClassifyEnd(got, resp, nil); got != want || end != want {
			t.Errorf("%d: %+v, then %+v, want %+v", status, got, end, want)
		}
	}
}
