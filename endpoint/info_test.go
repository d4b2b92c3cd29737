package endpoint_test

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/endpoint"
)

func TestInfoValidate(t *testing.T) {
	for _, c := range []struct {
		addr  string
		fault string // "" if there is none
	}{
		{"10.0.0.1:80", ""},
		{"reviews.default:8080", ""},
		{"[::1]:443", ""},
		{"[fe80::1%eth0]:443", ""},
		{"unix:/run/reviews.sock", ""},
		{"unix:@abstract", ""},
		{"unix:/with space/a.sock", ""},
		{"", "neither host:port nor unix:path"},
		{"10.0.0.1", "neither host:port nor unix:path"},
		{"::1:80", "neither host:port nor unix:path"},
		{"http://a:80", "neither host:port nor unix:path"},
		{":80", "has no host"},
		{"a:", "no port from 1 to 65535"},
		{"a:0", "no port from 1 to 65535"},
		{"a:65536", "no port from 1 to 65535"},
		{"a:http", "no port from 1 to 65535"},
		{"a:-1", "no port from 1 to 65535"},
		{"a:+80", "no port from 1 to 65535"},
		{"unix:", "needs a path"},
		{"a\n:80", "characters that no address has"},
		{"unix:/a\x00b", "characters that no address has"},
		{"\xff:80", "characters that no address has"},
	} {
		err := endpoint.Info{Addr: c.addr}.Validate()
		if c.fault == "" {
			if err != nil {
				t.Errorf("%q: %v", c.addr, err)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), "addr: ") || !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%q: %v, want a fault of addr: %s", c.addr, err, c.fault)
		}
	}
}

func TestInfoValidateReportsEveryFault(t *testing.T) {
	err := endpoint.Info{Addr: ":0", Labels: map[string]string{"": "x"}}.Validate()
	if err == nil {
		t.Fatal("no fault")
	}
	for _, want := range []string{"no host", "no port", "labels: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %q is missing", err, want)
		}
	}
}

func TestInfoEqual(t *testing.T) {
	base := endpoint.Info{
		Addr: "a:1", Weight: 2, Priority: 1, Region: "r", Zone: "z",
		Labels: map[string]string{"version": "v1"},
	}
	same := base
	same.Labels = map[string]string{"version": "v1"}
	if !base.Equal(same) {
		t.Error("equal content in another map is not equal")
	}
	for name, change := range map[string]func(*endpoint.Info){
		"addr":     func(i *endpoint.Info) { i.Addr = "b:1" },
		"weight":   func(i *endpoint.Info) { i.Weight = 3 },
		"priority": func(i *endpoint.Info) { i.Priority = 0 },
		"region":   func(i *endpoint.Info) { i.Region = "" },
		"zone":     func(i *endpoint.Info) { i.Zone = "" },
		"value":    func(i *endpoint.Info) { i.Labels = map[string]string{"version": "v2"} },
		"name":     func(i *endpoint.Info) { i.Labels = map[string]string{"release": "v1"} },
		"labels":   func(i *endpoint.Info) { i.Labels = nil },
		"ready":    func(i *endpoint.Info) { i.NotReady = true },
	} {
		other := base
		change(&other)
		if base.Equal(other) || other.Equal(base) {
			t.Errorf("a change of %s goes unnoticed", name)
		}
	}
}

func TestInfoNetwork(t *testing.T) {
	for addr, want := range map[string][2]string{
		"a:1":           {"tcp", "a:1"},
		"unix:/run/a":   {"unix", "/run/a"},
		"unix:@a":       {"unix", "@a"},
		"unix.local:80": {"tcp", "unix.local:80"},
	} {
		network, a := endpoint.Info{Addr: addr}.Network()
		if got := [2]string{network, a}; got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
}

func TestInfoHas(t *testing.T) {
	i := endpoint.Info{Labels: map[string]string{"version": "v1", "empty": ""}}
	for _, c := range []struct {
		labels map[string]string
		want   bool
	}{
		{nil, true},
		{map[string]string{"version": "v1"}, true},
		{map[string]string{"version": "v1", "empty": ""}, true},
		{map[string]string{"version": "v2"}, false},
		{map[string]string{"missing": ""}, false},
		{map[string]string{"version": "v1", "missing": "x"}, false},
	} {
		if got := i.Has(c.labels); got != c.want {
			t.Errorf("Has(%v) = %v", c.labels, got)
		}
	}
}
