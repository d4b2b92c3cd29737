package telemetry

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle/internal/oteltest"
)

// The table in the documentation is that of the code.
func TestMetricsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	var documented []string
	for line := range strings.Lines(string(doc)) {
		fields := strings.Fields(strings.ReplaceAll(strings.TrimPrefix(line, "//"), ",", ""))
		if len(fields) > 2 && strings.HasPrefix(fields[0], "tulle.") && fields[1] != "s" {
			documented = append(documented, fields[0])
			row := rowNamed(t, fields[0])
			assert.Equal(t, []string{row.kind.String(), row.unit}, fields[1:3], row.name)
			if row.key != "" {
				assert.Equal(t, row.key, fields[len(fields)-1], row.name)
			}
		}
	}
	assert.Len(t, documented, len(metricRows))
}

func rowNamed(t *testing.T, name string) metricRow {
	for _, row := range metricRows {
		if row.name == name {
			return row
		}
	}
	t.Fatalf("%s is in no row", name)
	return metricRow{}
}

func TestPointsAreObserved(t *testing.T) {
	meters := &oteltest.Metrics{}
	r, err := New(Options{Meters: meters, Collect: func(emit func(Point)) {
		for m := range numMetrics {
			emit(Point{Metric: m, Service: "reviews", Subset: "v2", Route: "r", Rule: "public", Kind: "x", Value: float64(m) + .5})
		}
		emit(Point{Metric: CallsActive, Value: 7})
		emit(Point{Metric: numMetrics, Value: 1})
	}})
	require.NoError(t, err)
	seen, err := meters.Collect()
	require.NoError(t, err)
	want := map[string]float64{"tulle.call.active": 7}
	for m, row := range metricRows {
		attributes := "tulle.route=r,tulle.rule=public,tulle.service=reviews,tulle.subset=v2"
		if row.key != "" {
			attributes = sorted(attributes + "," + row.key + "=x")
		}
		want[row.name+"{"+attributes+"}"] = float64(m)
		if row.kind == gauge {
			want[row.name+"{"+attributes+"}"] += .5
		}
	}
	assert.Equal(t, want, seen)
	for _, row := range metricRows {
		assert.Equal(t, row.unit, meters.Units()[row.name])
	}
	assert.Equal(t, "s", meters.Units()["http.client.request.duration"])
	require.NoError(t, r.Close())
	seen, err = meters.Collect()
	require.NoError(t, err)
	assert.Empty(t, seen, "collected after Close")
}

func sorted(attributes string) string {
	parts := strings.Split(attributes, ",")
	for i := range parts {
		for j := range i {
			if parts[i] < parts[j] {
				parts[i], parts[j] = parts[j], parts[i]
			}
		}
	}
	return strings.Join(parts, ",")
}

func TestRefusedInstruments(t *testing.T) {
	for _, name := range []string{"http.client.request.duration", "tulle.call.duration", "http.server.request.duration", "http.server.active_requests", "tulle.retry.budget"} {
		_, err := New(Options{Meters: &oteltest.Metrics{Refuse: name}, Collect: func(func(Point)) {}})
		assert.ErrorContains(t, err, name)
	}
}
