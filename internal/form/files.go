// Package form cleans up after handlers that are given a copy of a request. A
// server removes the files of a multipart form from the request that it knows,
// and a form that is read from a copy is not in that.
package form

import "net/http"

// RemoveFiles removes the files of the form that has been read from through, a
// copy of r. A form that r has as well is left to those who read it, and to the
// server. It is to be deferred: the handler may panic.
func RemoveFiles(r, through *http.Request) {
	if f := through.MultipartForm; f != nil && f != r.MultipartForm {
		_ = f.RemoveAll() // nobody is left to be told
	}
}
