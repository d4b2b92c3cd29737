package main

import (
	"crypto/tls"
	"net/http"
)

// book is what details knows.
type book struct {
	Served    served `json:"served"`
	Title     string `json:"title"`
	Author    string `json:"author"`
	Year      int    `json:"year"`
	Kind      string `json:"kind"`
	Pages     int    `json:"pages"`
	Language  string `json:"language"`
	Publisher string `json:"publisher"`
}

// details tells what is printed on the cover.
func (s *service) details() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /details/0", func(w http.ResponseWriter, r *http.Request) {
		served := s.served
		if r.TLS != nil {
			served.TLS = tls.VersionName(r.TLS.Version)
		}
		answer(w, book{
			Served: served,
			Title:  "The Comedy of Errors", Author: "William Shakespeare", Year: 1595,
			Kind: "paperback", Pages: 200, Language: "English", Publisher: "Loopback Press",
		})
	})
	return mux
}
