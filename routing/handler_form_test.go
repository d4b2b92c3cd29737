package routing_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/tulle-mesh/tulle/routing"
)

// net/http removes the files of a form from the request it knows, which is not
// the one that a handler has whose request is changed. A form that was read
// before is left to those who read it, and a request that passes as it is to
// the server.
func TestHandlerRemovesFilesOfForms(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	files := func() int {
		entries, err := os.ReadDir(os.Getenv("TMPDIR"))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	for _, path := range []string{"/request", "/rewrite", "/all", "/response", "/nothing"} {
		for _, c := range []struct {
			name          string
			parse, panics bool
			left          int
		}{
			{name: "returns"},
			{name: "panics", panics: true},
			{name: "read before", parse: true, left: 1},
		} {
			if path == "/response" || path == "/nothing" {
				c.left = 1
			}
			t.Run(fmt.Sprint(path, " ", c.name), func(t *testing.T) {
				var body bytes.Buffer
				form := multipart.NewWriter(&body)
				part, err := form.CreateFormFile("f", "f.txt")
				if err != nil {
					t.Fatal(err)
				}
				_, _ = part.Write(make([]byte, 1<<20))
				form.Close()
				r := httptest.NewRequest("POST", path, &body)
				r.Header.Set("Content-Type", form.FormDataContentType())
				if c.parse {
					if err := r.ParseMultipartForm(1); err != nil {
						t.Fatal(err)
					}
				}
				inner := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if err := r.ParseMultipartForm(1); err != nil || files() != 1 {
						t.Errorf("%v, %d files", err, files())
					}
					if c.panics {
						panic("the handler")
					}
				})
				func() {
					defer func() {
						if got := recover(); (got != nil) != c.panics {
							t.Errorf("recovered %v", got)
						}
					}()
					routing.Handler(filterRules(t))(inner).ServeHTTP(httptest.NewRecorder(), r)
				}()
				if got := files(); got != c.left {
					t.Errorf("%d files are left, not %d", got, c.left)
				}
				if r.MultipartForm != nil {
					if err := r.MultipartForm.RemoveAll(); err != nil {
						t.Fatal(err)
					}
				}
				if got := files(); got != 0 {
					t.Errorf("%d files are left after the server's turn", got)
				}
			})
		}
	}
}
