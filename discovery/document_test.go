package discovery_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/discovery"
	"github.com/tulle-mesh/tulle/endpoint"
)

func TestDocument(t *testing.T) {
	got, err := discovery.Parse([]byte(`
		[
			{"addr": "unix:/run/x.sock", "notReady": true},
			{"addr": "10.0.0.1:80", "weight": 2, "priority": 1, "region": "eu", "zone": "b", "labels": {"version": "v2", "": "y"}, "notReady": false}
		]
	`))
	if err == nil || err.Error() != "endpoints[1].labels: a label has no name" {
		t.Fatal(got, err)
	}
	got, err = discovery.Parse([]byte(`[
		{"addr": "unix:/run/x.sock", "notReady": true},
		{"addr": "10.0.0.1:80", "weight": 2, "priority": 1, "region": "eu", "zone": "b", "labels": {"version": "v2"}, "notReady": false}
	]`))
	want := []endpoint.Info{
		{Addr: "10.0.0.1:80", Weight: 2, Priority: 1, Region: "eu", Zone: "b", Labels: map[string]string{"version": "v2"}},
		{Addr: "unix:/run/x.sock", NotReady: true},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := discovery.Parse([]byte(" [ ] ")); err != nil || got == nil || len(got) != 0 {
		t.Error("the empty list is the empty set:", got, err)
	}
}

func TestDocumentKeepsEveryField(t *testing.T) {
	info := full(t)
	info.Addr = "a:1"
	delete(info.Labels, "")
	doc, err := discovery.Encode([]endpoint.Info{info})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := discovery.Parse(doc); err != nil || !reflect.DeepEqual(got, []endpoint.Info{info}) {
		t.Errorf("%+v, %v, of\n%s", got, err, doc)
	}
}

func TestDocumentFaults(t *testing.T) {
	cases := []struct {
		doc  string
		want []string
	}{
		{``, []string{"is not a JSON list"}},
		{`null`, []string{"is not a JSON list"}},
		{`{"endpoints": []}`, []string{"is not a JSON list"}},
		{`[`, []string{"unexpected end of JSON input, at byte 1"}},
		{`[] []`, []string{"invalid character '[' after top-level value, at byte 4"}},
		{"[{\"addr\": \"\xff:1\"}]", []string{"is not UTF-8"}},
		{"[null, 1, [], \"a:1\"]", []string{
			"endpoints[0]: null is not an object", "endpoints[1]: 1 is not an object",
			"endpoints[2]: [] is not an object", `endpoints[3]: "a:1" is not an object`,
		}},
		{`[{"addr": "a:1"}, {}, {"addr": "a:1"}, {"addr": "b"}]`, []string{
			`endpoints[1].addr: "" is neither host:port nor unix:path`,
			`endpoints[2].addr: "a:1" is that of endpoints[0] too`,
			`endpoints[3].addr: "b" is neither host:port nor unix:path`,
		}},
		{`[{"addr": "a:1", "wieght": 2, "Weight": 3}]`, []string{
			"endpoints[0].wieght: is no field of an endpoint", "endpoints[0].Weight: is no field of an endpoint",
		}},
		{`[{"addr": "a", "wieght": 2}, {"addr": 7}, {"region": 1}]`, []string{
			"endpoints[0].wieght: is no field of an endpoint", "endpoints[1].addr: 7 is not a text", "endpoints[2].region: 1 is not a text",
			`endpoints[0].addr: "a" is neither host:port nor unix:path`, `endpoints[2].addr: "" is neither host:port nor unix:path`,
		}},
		{`[{"addr": "a:1", "addr": "b:1"}]`, []string{"endpoints[0].addr: comes twice"}},
		{`[{"addr": "a:1", "weight": -1, "priority": 1.5, "region": null, "notReady": "yes", "labels": {"a": 1, "b": "x", "b": "y"}}]`, []string{
			"endpoints[0].weight: -1 is not a whole number from 0 to 4294967295",
			"endpoints[0].priority: 1.5 is not a whole number from 0 to 4294967295",
			"endpoints[0].region: null is not a text",
			`endpoints[0].notReady: "yes" is not true or false`,
			"endpoints[0].labels.a: 1 is not a text",
			"endpoints[0].labels.b: comes twice",
		}},
		{`[{"addr": "a:1", "labels": null, "a\nb` + strings.Repeat("c", 99) + `": 1}]`, []string{
			"endpoints[0].labels: null is not an object",
			"endpoints[0].a b" + strings.Repeat("c", 57) + "…: is no field of an endpoint",
		}},
		{"[" + strings.Repeat(" ", 1<<20) + "]", []string{"is larger than 1048576 bytes"}},
	}
	for _, c := range cases {
		infos, err := discovery.Parse([]byte(c.doc))
		if err == nil || infos != nil || !slices.Equal(strings.Split(err.Error(), "\n"), c.want) {
			t.Errorf("%.80q: %v, %q\nwant %q", c.doc, infos, err, c.want)
		}
	}
	_, err := discovery.Parse([]byte("[" + strings.Repeat("0,", 500) + "0]"))
	if lines := strings.Split(fmt.Sprint(err), "\n"); len(lines) != 21 || lines[20] != "and 481 more faults" {
		t.Errorf("%q", lines)
	}
}
