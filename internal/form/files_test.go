package form_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/internal/form"
)

// upload returns a request with a form that has to be kept in a file.
func upload(t *testing.T) *http.Request {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part, err := w.CreateFormFile("f", "f.txt")
	require.NoError(t, err)
	_, err = part.Write(make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	r := httptest.NewRequest(http.MethodPost, "/", &body)
	r.Header.Set("Content-Type", w.FormDataContentType())
	return r
}

// files tells how many there are of forms.
func files(t *testing.T) int {
	entries, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	return len(entries)
}

func TestRemoveFiles(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r := upload(t)
	through := r.WithContext(t.Context())
	form.RemoveFiles(r, through)
	require.NoError(t, through.ParseMultipartForm(1))
	require.Equal(t, 1, files(t))
	require.Nil(t, r.MultipartForm, "a server that knows only this removes nothing")
	form.RemoveFiles(r, through)
	assert.Zero(t, files(t))
	form.RemoveFiles(r, through)
}

// A form that was read before the copy was made is not the copy's.
func TestFilesOfOthersStay(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	r := upload(t)
	require.NoError(t, r.ParseMultipartForm(1))
	form.RemoveFiles(r, r.WithContext(t.Context()))
	form.RemoveFiles(r, r)
	f, err := r.MultipartForm.File["f"][0].Open()
	require.NoError(t, err)
	all, err := io.ReadAll(f)
	require.NoError(t, err)
	assert.Len(t, all, 1<<20)
	require.NoError(t, f.Close())
	require.NoError(t, r.MultipartForm.RemoveAll())
	assert.Zero(t, files(t))
}

// A form that is read part by part has no files, and is all requests' own.
func TestFormThatIsReadByItsReader(t *testing.T) {
	r := upload(t)
	through := r.WithContext(t.Context())
	_, err := through.MultipartReader()
	require.NoError(t, err)
	require.NotNil(t, through.MultipartForm)
	form.RemoveFiles(r, through)
	_, err = upload(t).MultipartReader()
	assert.NoError(t, err)
}
