package tulletest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/retry"
	"github.com/tulle-mesh/tulle/tulletest"
)

// shop is the handler under test: it asks two services.
func shop(client *http.Client) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, url := range []string{"http://details/7", "http://ratings/7"} {
			resp, err := client.Get(url)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			fmt.Fprintf(w, "%s. ", body)
		}
	})
}

// An example of a test: my handler and two scripted dependencies in one
// bubble. One endpoint of ratings hangs; the mesh gives up on it after a
// second, which takes no time here, and asks the other one.
func TestShopSurvivesAHangingEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := tulletest.NewNetwork()
		network.Serve(t, "details:80", &tulletest.Script{Default: tulletest.Step{Body: "A comedy"}})
		hangs := &tulletest.Script{Default: tulletest.Step{Fault: tulletest.Hang}}
		network.Serve(t, "ratings-1:80", hangs)
		network.Serve(t, "ratings-2:80", &tulletest.Script{Default: tulletest.Step{Body: "Five stars"}})

		mesh, err := tulle.New(tulle.Config{
			Services: []tulle.Service{
				{Name: "details", Resolver: discovery.Addrs("details:80")},
				{Name: "ratings", Resolver: discovery.Addrs("ratings-1:80", "ratings-2:80")},
			},
			Policies: tulle.Policies{Retry: &retry.Policy{PerTry: time.Second}},
		}, tulle.WithDialer(network.DialContext))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { mesh.Shutdown(t.Context()) })

		handler := shop(mesh.Client())
		for hangs.Count() == 0 {
			begin, w := time.Now(), httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if got := w.Body.String(); got != "A comedy. Five stars. " {
				t.Fatalf("got %q", got)
			}
			if hangs.Count() == 1 && time.Since(begin) < time.Second {
				t.Errorf("gave up on the hanging endpoint after %v", time.Since(begin))
			}
		}
	})
}
