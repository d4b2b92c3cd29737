package outcome_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/tulle-mesh/tulle/outcome"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// soft is a service that answers 200 with a header where others fail.
type soft struct{ outcome.HTTP }

func (s soft) Classify(resp *http.Response, err error) outcome.Outcome {
	o := s.HTTP.Classify(resp, err)
	if o.Class == outcome.Success && resp.Header.Get("X-Result") == "failed" {
		o.Class = outcome.ServerError
	}
	return o
}

func Example() {
	var classifier outcome.Classifier = soft{}

	ok := &http.Response{StatusCode: 200, Header: http.Header{"X-Result": {"failed"}}}
	fmt.Println(classifier.Classify(ok, nil).Class)

	refused := &net.OpError{Op: "dial", Err: io.EOF}
	o := classifier.Classify(nil, refused)
	fmt.Println(o.Class, "unsent:", o.Unsent)

	r := outcome.NoEndpoint
	fmt.Println(r, r.Status(), r.ProxyStatus())
	// Output:
	// server_error
	// connect unsent: true
	// no_endpoint 503 destination_unavailable
}
