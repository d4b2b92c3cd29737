package main

import (
	"bytes"
	"context"
	"image/color"
	"image/png"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tulle-mesh/tulle"
	"github.com/tulle-mesh/tulle/fault"
	"github.com/tulle-mesh/tulle/match"
)

// TestPageInChromium: a browser makes of the page of a running fleet what it is
// meant to be: who answered each part, after how many attempts, and what a mesh
// has answered itself.
func TestPageInChromium(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("chromium is missing: install the Debian package chromium")
		}
		t.Log("NOT TESTED: chromium is missing: install the Debian package chromium")
		return
	}
	f := newFleet(t)
	v3 := toReviews("everybody", map[string]uint32{"v3": 1})
	require.NoError(t, f.apply(t.Context(), rules{routes: []tulle.Route{v3}, retry: true}))
	html, colors := browse(t, browser, f.url(), "whole.png")
	for _, part := range []string{
		"The Comedy of Errors", "William Shakespeare", "<b>details v1</b>", "TLS 1.3", "<b>reviews v3</b>", "<b>ratings v1</b>",
		`<span class="attempts">1 attempt</span>`, f.version("reviews", "v3")[0].addr, `title="5 of 5"`, "What the meshes know",
	} {
		requireText(t, html, part)
	}
	require.NotContains(t, html, "answered by the mesh:")
	red, good, bad := color.RGBA{0xc6, 0x2f, 0x3b, 255}, color.RGBA{0x2e, 0x7d, 0x4f, 255}, color.RGBA{0xfd, 0xf0, 0xf0, 255}
	require.Greater(t, colors[red], 100, "nine red stars")
	require.Greater(t, colors[good], 100, "the edges of three lines about calls that went well")
	require.Zero(t, colors[bad])

	broken := tulle.Route{
		Name: "ratings", Match: []match.Request{{Hosts: []string{"ratings"}}},
		Policies: tulle.Policies{Fault: &fault.Policy{Abort: &fault.Abort{Percent: 100, Status: http.StatusInternalServerError}}},
	}
	require.NoError(t, f.apply(t.Context(), rules{routes: []tulle.Route{v3, broken}}))
	html, colors = browse(t, browser, f.url(), "broken.png")
	for _, part := range []string{"stars cannot be shown just now", "500 Internal Server Error", "answered by the mesh:"} {
		requireText(t, html, part)
	}
	require.Greater(t, colors[bad], 1000, "the ground of the line about the call that failed")
}

// browse opens a page in a browser without a window. It returns the document
// after it has been read, and of which colour how many points of the screen
// are. The picture stays where go test -artifacts puts it.
func browse(t *testing.T, browser, url, name string) (html string, colors map[color.Color]int) {
	// Not a directory of the test's: the browser's last words come late.
	profile, err := os.MkdirTemp("", "bookinfo-chromium-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(profile) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	picture := filepath.Join(t.ArtifactDir(), name)
	var out, log bytes.Buffer
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--window-size=1100,1300", "--user-data-dir="+profile, "--screenshot="+picture, "--dump-dom", url)
	cmd.Env = append(os.Environ(), "HOME="+profile)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &log, 5*time.Second
	require.NoError(t, cmd.Run(), "%s", &log)

	file, err := os.Open(picture)
	require.NoError(t, err, "%s", &log)
	defer file.Close()
	img, err := png.Decode(file)
	require.NoError(t, err)
	size := img.Bounds().Size()
	require.GreaterOrEqual(t, size.X, 1000)
	require.GreaterOrEqual(t, size.Y, 1000)
	colors = map[color.Color]int{}
	for y := range size.Y {
		for x := range size.X {
			colors[color.RGBAModel.Convert(img.At(x, y))]++
		}
	}
	return out.String(), colors
}
