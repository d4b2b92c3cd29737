package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// task shows something that a mesh does, step by step.
type task struct {
	name, title string
	// about says what it is good for.
	about string
	steps []step
	// without are the rules that lack what the task is about. Under them
	// each step must miss what it expects, or it shows nothing.
	without rules
}

// step applies rules, looks at the page many times, and compares what was
// seen with what is expected.
type step struct {
	about string
	rules rules
	// users look at the page in turn; without any it is one who is not logged in.
	users []string
	// request, if there is any, makes the request of a number in their place.
	// Only then may there be answers without a page.
	request func(f *fleet, made int) request
	calls   int
	// see tells what of a page the step is about.
	see func(page) string
	// expect are the shares of what is seen. What is not in it must not be
	// seen at all.
	expect map[string]float64
	// besides is what may be seen as well, each at most so often. Shares are
	// of the other pages.
	besides map[string]int
	// quote, if there is any, tells in words what an answer says.
	quote func(page) string
	// trouble, if there is any, is made before and ended after the calls.
	trouble harm
	// during, if there is any, is done while many look at the page at once, as
	// long as it takes and until there were as many calls as the step has.
	during func(context.Context, *fleet) error
	// clients is how many those are, 24 unless it is set.
	clients int
	// without, if there is any, changes what is done when the step is taken
	// without the policy, which may be a way of doing it.
	without func(*step)
	// count, if there is any, is of what no page shows. It begins before the
	// calls, and what it returns tells the numbers after the trouble has ended.
	count func(context.Context, *fleet) (tell func(context.Context) (tally, error), err error)
	// counted are the numbers expected.
	counted map[string]span
}

// harm is what makes trouble, until end is called.
type harm func(context.Context, *fleet) (end func(context.Context) error, err error)

// span is what a number may be: from least to most.
type span struct{ least, most int }

func exactly(n int) span { return span{n, n} }
func atMost(n int) span  { return span{0, n} }

func (s span) holds(n int) bool { return s.least <= n && n <= s.most }

func (s span) String() string {
	switch {
	case s.least == s.most:
		return fmt.Sprint(s.least)
	case s.least == 0:
		return fmt.Sprintf("at most %d", s.most)
	}
	return fmt.Sprintf("%d to %d", s.least, s.most)
}

// tally is what was counted besides pages, and what there is to show for it:
// each line with a word in front that says what it is.
type tally struct {
	numbers map[string]int
	lines   [][2]string
}

// sight is what was seen in a step: pages by what they look like, and what
// else there was to count.
type sight struct {
	pages map[string]int
	tally
}

// tasks are all there are, in the order in which they are shown.
func tasks() []task {
	return []task{routingTask(), shiftingTask(), faultsTask(), timeoutsTask(), retriesTask(), mirroringTask(), breakerTask(), ejectionTask(), failoverTask(),
		restartTask(), limitsTask(), tokensTask(), mistakesTask(), tlsTask()}
}

// walker walks through tasks and says what it sees.
type walker struct {
	fleet *fleet
	out   io.Writer
	// live shows progress in a line that is written over again; pace is the
	// time from one call to the next.
	live bool
	pace time.Duration
}

// walk shows the task. It returns an error for each step that does not come
// to what it expects, or does so without the policy too.
func (w *walker) walk(ctx context.Context, t task) error {
	fmt.Fprintf(w.out, "\nTask %s: %s\n", t.name, t.title)
	fmt.Fprintln(w.out, indent(t.about, "  "))
	var faults []error
	for i, s := range t.steps {
		fmt.Fprintf(w.out, "\n  %d. %s\n", i+1, s.about)
		common := describe(t.without)
		for _, line := range describe(s.rules) {
			if !slices.Contains(common, line) {
				fmt.Fprintf(w.out, "     %-9s %s\n", "policy", line)
			}
		}
		fmt.Fprintf(w.out, "     %-9s %s\n", "expected", strings.Join(s.expected(), ", "))
		if err := w.prove(ctx, s, t.without); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			faults = append(faults, fmt.Errorf("%s, step %d: %w", t.name, i+1, err))
		}
	}
	return errors.Join(faults...)
}

// prove takes the step with its rules and without.
func (w *walker) prove(ctx context.Context, s step, without rules) error {
	seen, err := w.take(ctx, "observed", s)
	if err != nil {
		return err
	}
	miss := s.judge(seen)
	w.verdict("observed", seen, map[bool]string{true: "ok", false: "NOT as expected"}[miss == nil])

	s.rules = without
	if s.without != nil {
		s.without(&s)
	}
	seen, err = w.take(ctx, "without", s)
	if err != nil {
		return errors.Join(miss, err)
	}
	if s.judge(seen) == nil {
		w.verdict("without", seen, "NOT telling: the same without the policy")
		return errors.Join(miss, errors.New("meets its expectation without the policy as well"))
	}
	w.verdict("without", seen, "fails, as it must")
	return miss
}

// take applies the rules of the step, makes its calls and counts what is seen.
func (w *walker) take(ctx context.Context, label string, s step) (seen sight, err error) {
	if err := w.fleet.apply(ctx, s.rules); err != nil {
		return seen, err
	}
	if s.count != nil {
		tell, err := s.count(ctx, w.fleet)
		if err != nil {
			return seen, err
		}
		// Deferred before the end of the trouble, so after it.
		defer func() {
			if err == nil {
				var more tally
				more, err = tell(ctx)
				seen.numbers, seen.lines = more.numbers, append(seen.lines, more.lines...)
			}
		}()
	}
	if s.trouble != nil {
		end, err := s.trouble(ctx, w.fleet)
		if err != nil {
			return seen, errors.Join(err, end(ctx))
		}
		defer func() { err = errors.Join(err, end(ctx)) }()
	}
	look := w.look
	if s.during != nil {
		look = w.crowd
	}
	var quote string
	if seen.pages, quote, err = look(ctx, label, s); quote != "" {
		seen.lines = append(seen.lines, [2]string{"answer", quote})
	}
	return seen, err
}

// look makes the calls of the step, and quotes the last page that says
// something.
func (w *walker) look(ctx context.Context, label string, s step) (seen map[string]int, quote string, err error) {
	tick := time.NewTicker(max(w.pace, time.Microsecond))
	defer tick.Stop()
	seen = map[string]int{}
	for made := range s.calls {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
		p, err := s.look(ctx, w.fleet, made)
		if err != nil {
			// Productpage itself fails in no step, so this says nothing about a policy.
			return nil, "", err
		}
		seen[s.see(p)]++
		if s.quote != nil {
			quote = cmp.Or(s.quote(p), quote)
		}
		if w.live && made%10 == 9 {
			fmt.Fprintf(w.out, "\r     %-9s %-44s %d of %d\x1b[K", label, strings.Join(counts(seen), ", "), made+1, s.calls)
		}
	}
	return seen, quote, nil
}

// look makes the call of a number.
func (s step) look(ctx context.Context, f *fleet, made int) (page, error) {
	if s.request != nil {
		return f.ask(ctx, s.request(f, made))
	}
	user := ""
	if len(s.users) > 0 {
		user = s.users[made%len(s.users)]
	}
	return f.look(ctx, user)
}

// judge compares pages with the shares expected, and numbers with those that
// they must be.
func (s step) judge(seen sight) error {
	var faults []error
	if s.during != nil {
		// How many there were depends on how long it took.
		all := 0
		for _, n := range seen.pages {
			all += n
		}
		s.calls = max(s.calls, all)
	}
	calls := s.calls
	for _, what := range slices.Sorted(maps.Keys(s.besides)) {
		n := seen.pages[what]
		if calls -= n; n > s.besides[what] {
			faults = append(faults, fmt.Errorf("%s: %d of %d calls, expected at most %d", what, n, s.calls, s.besides[what]))
		}
	}
	for _, what := range slices.Sorted(maps.Keys(s.expect)) {
		least, most := bounds(calls, s.expect[what], falseAlarm)
		if n := seen.pages[what]; n < least || n > most {
			faults = append(faults, fmt.Errorf("%s: %d of %d calls, expected %d to %d", what, n, calls, least, most))
		}
	}
	for _, what := range slices.Sorted(maps.Keys(seen.pages)) {
		if !s.allows(what) {
			faults = append(faults, fmt.Errorf("%s: %d of %d calls, expected none", what, seen.pages[what], s.calls))
		}
	}
	for _, what := range slices.Sorted(maps.Keys(s.counted)) {
		if n, ok := seen.numbers[what]; !s.counted[what].holds(n) || !ok {
			faults = append(faults, fmt.Errorf("%s: %d, expected %v", what, n, s.counted[what]))
		}
	}
	return errors.Join(faults...)
}

// allows reports whether what may be seen at all.
func (s step) allows(what string) bool {
	_, expected := s.expect[what]
	_, besides := s.besides[what]
	return expected || besides
}

// verdict writes counts and what is thought of them, over the line that was
// live.
func (w *walker) verdict(label string, seen sight, verdict string) {
	if w.live {
		fmt.Fprint(w.out, "\r\x1b[K")
	}
	all := strings.Join(slices.Concat(counts(seen.pages), numbers(seen.numbers)), ", ")
	fmt.Fprintf(w.out, "     %-9s %-56s %s\n", label, all, verdict)
	for _, line := range seen.lines {
		fmt.Fprintf(w.out, "       %-7s %s\n", line[0], line[1])
	}
}

// counts tells what was seen, each with its number and share.
func counts(seen map[string]int) []string {
	all := 0
	for _, n := range seen {
		all += n
	}
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(seen)) {
		parts = append(parts, fmt.Sprintf("%s %d (%.0f %%)", what, seen[what], 100*float64(seen[what])/float64(all)))
	}
	return parts
}

// numbers tells what was counted, or is expected to be.
func numbers[V any](counted map[string]V) []string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(counted)) {
		parts = append(parts, fmt.Sprintf("%s: %v", what, counted[what]))
	}
	return parts
}

// expected tells what is.
func (s step) expected() []string {
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(s.expect)) {
		parts = append(parts, fmt.Sprintf("%s %.0f %%", what, 100*s.expect[what]))
	}
	for _, what := range slices.Sorted(maps.Keys(s.besides)) {
		parts = append(parts, fmt.Sprintf("besides %s: %v", what, atMost(s.besides[what])))
	}
	return slices.Concat(parts, numbers(s.counted))
}

func indent(text, by string) string { return by + strings.ReplaceAll(text, "\n", "\n"+by) }
