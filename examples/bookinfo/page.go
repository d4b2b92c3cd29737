package main

import (
	"bytes"
	_ "embed"
	"html/template"
	"log"
	"net/http"
	"strings"
	"time"
)

// page.html needs nothing from elsewhere: no script, font or picture.
//
//go:embed page.html
var pageHTML string

const mostStars = 5

func newTemplate() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"stars": func(n int) string { return strings.Repeat("★", min(max(n, 0), mostStars)) },
		"gaps":  func(n int) string { return strings.Repeat("★", mostStars-min(max(n, 0), mostStars)) },
		"soon":  soon,
		"ms":    func(d time.Duration) string { return d.Round(10 * time.Microsecond).String() },
	}).Parse(pageHTML))
}

// render sends the page whole, or an error and nothing of it.
func render(w http.ResponseWriter, t *template.Template, p page) {
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		log.Print("bookinfo: page: ", err)
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'")
	// An error means that the reader has gone.
	_, _ = w.Write(b.Bytes())
}
