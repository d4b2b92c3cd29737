package tulletest

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"os"
	"testing"
)

// formRows are the rules about the files that net/http makes of a multipart
// form.
func formRows() []row[*handlerWorld] {
	return []row[*handlerWorld]{
		{name: "files of a form are removed", test: handledFormFiles},
	}
}

// The server removes the files of the request that it knows: those of a form
// that was read through another are for who made that, also after a panic. A
// form that was read before is left to who has read it.
func handledFormFiles(t testing.TB, w *handlerWorld) {
	var file string
	// Who answers for a handler that panics may have sent the response before the
	// panic gets here.
	done := make(chan struct{}, 1)
	read := func(r *http.Request) {
		if err := r.ParseMultipartForm(1); err != nil {
			t.Errorf("%s: reading the form: %v", r.URL.Path, err)
			return
		}
		file = formFile(t, r)
	}
	w.serveInside(
		http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			read(r)
			if r.URL.Path == "/panics" {
				panic("the handler")
			}
		}),
		func(wrapped http.Handler, rw http.ResponseWriter, r *http.Request) {
			defer func() { done <- struct{}{} }()
			file = ""
			before := r.URL.Path == "/read/before"
			if before {
				read(r)
			}
			func() {
				defer func() { _ = recover() }()
				wrapped.ServeHTTP(rw, r)
			}()
			_, err := os.Stat(file)
			switch {
			case file == "":
				t.Errorf("%s: the handler has had no file", r.URL.Path)
			case before && err != nil:
				t.Errorf("%s: the file is gone before who has read the form is done: %v", r.URL.Path, err)
			case err == nil && r.MultipartForm == nil:
				t.Errorf("%s: a file is left that nobody knows", r.URL.Path)
				_ = os.Remove(file)
			}
			if r.MultipartForm != nil {
				_ = r.MultipartForm.RemoveAll()
			}
		})
	for _, path := range []string{"/returns", "/panics", "/read/before"} {
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		if part, err := form.CreateFormFile("file", "name"); err != nil {
			t.Fatal(err)
		} else if _, err = part.Write([]byte("content")); err != nil {
			t.Fatal(err)
		}
		if err := form.Close(); err != nil {
			t.Fatal(err)
		}
		r := w.request("POST", path, &body)
		r.Header.Set("Content-Type", form.FormDataContentType())
		w.do(r)
		<-done
	}
}

// formFile returns where the only file of a form is, "" if it is not in a file.
func formFile(t testing.TB, r *http.Request) string {
	f, header, err := r.FormFile("file")
	if err != nil {
		t.Errorf("%s: %v", r.URL.Path, err)
		return ""
	}
	defer f.Close()
	file, ok := f.(*os.File)
	if !ok {
		t.Errorf("%s: %d bytes are not in a file", r.URL.Path, header.Size)
		return ""
	}
	return file.Name()
}
