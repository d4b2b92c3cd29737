package tulletest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestServeBothProtocols(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := NewNetwork()
				s := &Script{Steps: []Step{{Status: 503, Delay: time.Hour}, {Body: "hello", BodyDelay: time.Second}}}
				n.Serve(t, "reviews:80", s)
				tr := &http.Transport{DialContext: n.DialContext, Protocols: new(http.Protocols)}
				if proto == "HTTP/2.0" {
					tr.Protocols.SetUnencryptedHTTP2(true)
				} else {
					tr.Protocols.SetHTTP1(true)
				}
				c := &http.Client{Transport: tr}
				resp, err := c.Post("http://reviews/x", "", strings.NewReader("abc"))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.Proto != proto || resp.StatusCode != 503 {
					t.Fatal(resp.Proto, resp.Status)
				}
				resp, err = c.Get("http://reviews/x")
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(b) != "hello" {
					t.Fatal(string(b), err)
				}
				if n.Opened("reviews:80") != 1 {
					t.Fatal("opened", n.Opened("reviews:80"))
				}
			})
		})
	}
}
