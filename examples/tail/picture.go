package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strings"
	"time"
)

// The picture is a row for each policy: its name, its quantiles as dots on a
// logarithmic scale of time, and the same in figures.
const (
	pictureWidth = 900
	plotLeft     = 180
	plotRight    = 550
	plotTop      = 104
	rowHeight    = 38
	dotRadius    = 6
	firstColumn  = 612
	columnWidth  = 64
)

// pictureStyle follows the reader's choice between light and dark. The picture
// brings its own ground, so that it can be read on any page.
const pictureStyle = `
svg{--ground:#fcfcfb;--ink:#0b0b0b;--ink2:#52514e;--grid:#e1e0d9;--bar:#c3c2b7;--band:#f0efec;--q0:#86b6ef;--q1:#3987e5;--q2:#1c5cab;--q3:#0d366b}
@media (prefers-color-scheme:dark){svg{--ground:#1a1a19;--ink:#fff;--ink2:#c3c2b7;--grid:#2c2c2a;--bar:#52514e;--band:#2c2c2a;--q0:#1c5cab;--q1:#3987e5;--q2:#86b6ef;--q3:#cde2fb}}
text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:var(--ink)}
.title{font-size:17px;font-weight:600}
.note,.axis,.head{fill:var(--ink2);font-size:12px}
.small{fill:var(--ink2);font-size:11px}
.own{font-weight:700}
.figure,.head{text-anchor:end;font-variant-numeric:tabular-nums}
.axis{text-anchor:middle}
.ground{fill:var(--ground)}
.band{fill:var(--band)}
.grid{stroke:var(--grid)}
.range{stroke:var(--bar);stroke-width:2}
circle{stroke:var(--ground);stroke-width:2}
.q0{fill:var(--q0)}.q1{fill:var(--q1)}.q2{fill:var(--q2)}.q3{fill:var(--q3)}
`

// picture draws results as an SVG, and says by which arguments they came. It needs nothing from elsewhere, and its
// text is text.
func picture(results []result, l load, troubles []trouble, args []string) []byte {
	var d drawing
	bottom := plotTop + rowHeight*len(results)
	height := bottom + 84
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-labelledby="title about">`+"\n",
		pictureWidth, height)
	title := "How long calls take, by how their endpoints are chosen"
	about := fmt.Sprintf("%d callers that know nothing of each other, %d servers with %d workers, %v calls a second for %s.",
		l.callers, l.servers, workers, l.rate, short(l.length))
	d.printf("<title id=\"title\">%s</title>\n<desc id=\"about\">%s</desc>\n<style>%s</style>\n", title, about, pictureStyle)
	d.printf(`<rect class="ground" width="%d" height="%d" rx="6"/>`+"\n", pictureWidth, height)
	d.text(20, 30, "title", title)
	d.text(20, 51, "note", about)
	d.text(20, 68, "note", describe(troubles))

	for i := range quantiles {
		x := column(i)
		d.text(x, plotTop-10, "head", quantiles[i].name)
		d.printf(`<circle class="q%d" cx="%d" cy="%d" r="5"/>`+"\n", i, x-8*len(quantiles[i].name)-8, plotTop-14)
	}
	d.text(column(len(quantiles)), plotTop-10, "head", "failed")

	scale := newScale(results)
	for i := range results {
		if results[i].own {
			d.printf(`<rect class="band" x="10" y="%d" width="%d" height="%d" rx="4"/>`+"\n", plotTop+rowHeight*i+2, pictureWidth-20, rowHeight-4)
		}
	}
	for _, t := range scale.ticks {
		x := scale.x(t)
		d.printf(`<line class="grid" x1="%.1f" x2="%[1]g" y1="%d" y2="%d"/>`+"\n", x, plotTop, bottom)
		d.text(int(math.Round(x)), bottom+18, "axis", short(t))
	}
	d.text((plotLeft+plotRight)/2, bottom+36, "axis", "time to the answer, logarithmic")
	for i := range results {
		d.row(&results[i], scale, plotTop+rowHeight*i+rowHeight/2)
	}
	d.text(20, bottom+66, "note", "On one machine, with servers that sleep: go run ./examples/tail "+strings.Join(args, " "))
	d.printf("</svg>\n")
	return d.Bytes()
}

// row draws a result at the height y.
func (d *drawing) row(r *result, s scale, y int) {
	class, line := "name", y+4
	if r.own {
		class = "own"
	}
	if r.note != "" {
		line = y - 3
		d.text(20, y+12, "small", r.note)
	}
	d.text(20, line, class, r.name)
	if len(r.took) > 0 {
		d.printf(`<line class="range" x1="%.1f" x2="%.1f" y1="%d" y2="%[3]d"/>`+"\n",
			s.x(r.quantile(quantiles[0].of)), s.x(r.quantile(quantiles[len(quantiles)-1].of)), y)
	}
	for i, q := range quantiles {
		if len(r.took) == 0 {
			d.text(column(i), y+4, "figure", "–")
			continue
		}
		at := r.quantile(q.of)
		d.printf(`<circle class="q%d" cx="%.1f" cy="%d" r="%d"><title>`, i, s.x(at), y, dotRadius)
		d.escape(fmt.Sprintf("%s, %s: %s", r.name, q.name, short(at)))
		d.printf("</title></circle>\n")
		d.text(column(i), y+4, "figure", short(at))
	}
	d.text(column(len(quantiles)), y+4, "figure", percent(r.unanswered()))
}

// column is where a column of figures ends.
func column(i int) int { return firstColumn + columnWidth*i }

// drawing is the text of a picture.
type drawing struct{ bytes.Buffer }

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(&d.Buffer, format, args...) }

func (d *drawing) text(x, y int, class, s string) {
	d.printf(`<text class="%s" x="%d" y="%d">`, class, x, y)
	d.escape(s)
	d.printf("</text>\n")
}

// escape writes s as text. A Buffer takes everything.
func (d *drawing) escape(s string) { _ = xml.EscapeText(&d.Buffer, []byte(s)) }

// scale is a logarithmic one of time, from its first tick to its last.
type scale struct{ ticks []time.Duration }

// newScale returns the scale that all quantiles of results are on.
func newScale(results []result) scale {
	low, high := time.Duration(math.MaxInt64), time.Duration(0)
	for _, r := range results {
		for _, q := range quantiles {
			if at := r.quantile(q.of); at > 0 {
				low, high = min(low, at), max(high, at)
			}
		}
	}
	if high == 0 {
		low, high = time.Millisecond, time.Second
	}
	var s scale
	for unit := 100 * time.Microsecond; unit <= time.Minute; unit *= 10 {
		for _, n := range []time.Duration{1, 2, 5} {
			tick := n * unit
			// A tick below the least is needed, and one above the greatest.
			if len(s.ticks) == 1 && tick <= low {
				s.ticks = s.ticks[:0]
			}
			if len(s.ticks) < 2 || s.ticks[len(s.ticks)-1] < high {
				s.ticks = append(s.ticks, tick)
			}
		}
	}
	return s
}

// x is where a time is; what is off the scale is at its end.
func (s scale) x(at time.Duration) float64 {
	first, last := math.Log(float64(s.ticks[0])), math.Log(float64(s.ticks[len(s.ticks)-1]))
	part := (math.Log(max(1, float64(at))) - first) / (last - first)
	return plotLeft + (plotRight-plotLeft)*min(max(0, part), 1)
}
