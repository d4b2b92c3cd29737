package telemetry_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/tulle-mesh/tulle/telemetry"
)

// A client without a mesh writes an access log. Tracers and Meters are those
// of the program's OpenTelemetry SDK.
func Example() {
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer shop.Close()
	recorder, err := telemetry.New(telemetry.Options{
		AccessLog: slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: steady})),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer recorder.Close()
	calls := recorder.Scope(telemetry.Labels{Service: "shop", Host: "shop.example"})
	client := &http.Client{Transport: calls.Middleware(http.DefaultTransport)}
	resp, err := client.Get(shop.URL + "/cart?session=4711")
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	// Output:
	// level=INFO msg=call direction=outbound method=GET path=/cart status=200 service=shop attempts=1
}

// steady leaves out what is never the same.
func steady(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey || a.Key == "duration" || a.Key == "host" {
		return slog.Attr{}
	}
	return a
}
