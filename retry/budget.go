package retry

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

const (
	defaultRatio        = 0.2
	defaultMinPerSecond = 10
	// budgetWindow bounds what is saved up for a bad time.
	budgetWindow = 10 * time.Second
	milli        = 1000
)

// BudgetPolicy bounds retries in proportion to calls, so that an endpoint
// that fails is not finished off by those who ask again. Zero fields are
// defaults.
//
// The scheme is that of Finagle's RetryBudget: each call deposits Ratio
// tokens, each retry takes one, and MinPerSecond more come in by time so that
// a quiet service may retry at all. Tokens do not expire one by one as there;
// instead no more are held than MinPerSecond brings in ten seconds, at least
// ten. That much, which is also what a new budget holds, is the most that
// retries can exceed the proportion by at once.
type BudgetPolicy struct {
	// Ratio is how many retries each call earns, up to 1; 0 is 0.2, negative
	// is no bound at all.
	Ratio float64 `json:"ratio,omitzero"`
	// MinPerSecond is how many retries time earns; 0 is 10, negative none.
	MinPerSecond int `json:"minPerSecond,omitzero"`
}

// faults returns every fault of the policy.
func (p BudgetPolicy) faults(prefix string) (faults []error) {
	if math.IsNaN(p.Ratio) || math.IsInf(p.Ratio, 0) || p.Ratio > 1 {
		faults = append(faults, fmt.Errorf("%sratio: %v is not at most 1", prefix, p.Ratio))
	}
	if p.MinPerSecond > 1_000_000 {
		faults = append(faults, fmt.Errorf("%sminPerSecond: %d exceeds the limit of 1000000", prefix, p.MinPerSecond))
	}
	return faults
}

// Effective returns the policy with its defaults filled in.
func (p BudgetPolicy) Effective() BudgetPolicy {
	if p.Ratio == 0 {
		p.Ratio = defaultRatio
	}
	if p.MinPerSecond == 0 {
		p.MinPerSecond = defaultMinPerSecond
	}
	return p
}

// Budget is the balance that all calls of a service share, safe for
// concurrent use and without locks. It is made by NewBudget.
type Budget struct {
	deposit   int64 // milli-tokens per call
	perSecond int64 // milli-tokens
	limit     int64 // milli-tokens
	unlimited bool
	start     time.Time

	_       [64]byte
	balance atomic.Int64 // milli-tokens
	filled  atomic.Int64 // nanoseconds since start up to which time has paid
	granted atomic.Uint64
	refused atomic.Uint64
}

// NewBudget returns a full budget. A policy that is not valid counts as its
// nearest valid one.
func NewBudget(p BudgetPolicy) *Budget {
	p = p.Effective()
	b := &Budget{start: time.Now(), unlimited: p.Ratio < 0}
	if ratio := min(p.Ratio, 1); ratio > 0 {
		b.deposit = max(1, int64(math.Round(ratio*milli)))
	}
	b.perSecond = int64(max(0, p.MinPerSecond)) * milli
	b.limit = max(10*milli, b.perSecond*int64(budgetWindow/time.Second))
	b.balance.Store(b.limit)
	return b
}

// call deposits what one call earns. While the budget is full, as it is
// unless something fails, this reads one word and writes none.
func (b *Budget) call() { b.add(b.deposit) }

func (b *Budget) add(amount int64) {
	for {
		old := b.balance.Load()
		if old >= b.limit || b.balance.CompareAndSwap(old, min(old+amount, b.limit)) {
			return
		}
	}
}

// spend takes a token for one retry and reports whether there was one.
func (b *Budget) spend() bool {
	if b.unlimited {
		b.granted.Add(1)
		return true
	}
	b.refill()
	for {
		old := b.balance.Load()
		if old < milli {
			b.refused.Add(1)
			return false
		}
		if b.balance.CompareAndSwap(old, old-milli) {
			b.granted.Add(1)
			return true
		}
	}
}

// refund gives back the token of a retry that was never sent.
func (b *Budget) refund() {
	b.granted.Add(^uint64(0))
	if !b.unlimited {
		b.add(milli)
	}
}

// refill deposits what time has earned since it last did.
func (b *Budget) refill() {
	if b.perSecond == 0 {
		return
	}
	now := int64(time.Since(b.start))
	for {
		old := b.filled.Load()
		earned, upTo := b.earned(old, now)
		if earned == 0 {
			return
		}
		// Who moves the mark pays, so that no time is paid for twice.
		if b.filled.CompareAndSwap(old, upTo) {
			b.add(earned)
			return
		}
	}
}

// earned returns the whole milli-tokens that the time between two marks has
// earned, and the mark up to which they pay.
func (b *Budget) earned(from, now int64) (amount, upTo int64) {
	elapsed := now - from
	if elapsed <= 0 {
		return 0, from
	}
	if elapsed >= int64(budgetWindow) {
		return b.perSecond * int64(budgetWindow/time.Second), now
	}
	// At most 10^10 ns times 10^9: below 2^63 only in parts.
	whole, rest := elapsed/int64(time.Second), elapsed%int64(time.Second)
	amount = whole*b.perSecond + rest*b.perSecond/int64(time.Second)
	if amount == 0 {
		return 0, from
	}
	// Rounded up, so that the remainder is never paid twice.
	perSecond := b.perSecond
	paid := amount / perSecond * int64(time.Second)
	paid += (amount%perSecond*int64(time.Second) + perSecond - 1) / perSecond
	return amount, min(from+paid, now)
}

// BudgetStats is what a Budget has done.
type BudgetStats struct {
	// Balance is how many retries could be made at once now; -1 if there is
	// no bound.
	Balance float64 `json:"balance"`
	// Granted counts retries allowed, Refused those not.
	Granted uint64 `json:"granted"`
	Refused uint64 `json:"refused"`
}

// Stats returns the present balance and the counts so far.
func (b *Budget) Stats() BudgetStats {
	s := BudgetStats{Balance: -1, Granted: b.granted.Load(), Refused: b.refused.Load()}
	if !b.unlimited {
		b.refill()
		s.Balance = float64(b.balance.Load()) / milli
	}
	return s
}
