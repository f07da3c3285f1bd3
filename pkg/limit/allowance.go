package limit

import "time"

// slice is how much of an allowance may be used at once: a second's worth, or
// one unit when that takes longer.
const slice = time.Second

// allowance grows evenly with time. What is used up of it is a moment: the
// time up to which it is gone. The zero value is unlimited.
type allowance struct {
	unit  time.Duration // in which one more unit grows
	slice time.Duration
}

func newAllowance(perMinute int64) allowance {
	if perMinute == 0 {
		return allowance{}
	}
	unit := time.Minute / time.Duration(perMinute)
	return allowance{unit: unit, slice: max(slice, unit)}
}

func (a allowance) unlimited() bool { return a.unit == 0 }

// share is the allowance of one of n that share it evenly.
func (a allowance) share(n int) allowance {
	unit := a.unit * time.Duration(n)
	return allowance{unit: unit, slice: max(a.slice, unit)}
}

func (a allowance) cost(units int64) time.Duration { return a.unit * time.Duration(units) }

// delay is how long it takes until so many units are there. More than a slice
// never is: that is let through on a whole one, and makes the next ones wait.
func (a allowance) delay(spent, now time.Time, units int64) time.Duration {
	if a.unlimited() {
		return 0
	}
	return max(0, spent.Add(min(a.cost(units), a.slice)).Sub(now))
}

// spare is like delay, for units beyond which half a slice stays untouched.
func (a allowance) spare(spent, now time.Time, units int64) time.Duration {
	if a.unlimited() {
		return 0
	}
	return a.delay(spent.Add(a.slice/2), now, units)
}

// spend returns what is used up afterwards. What was not used for longer than
// a slice is lost.
func (a allowance) spend(spent, now time.Time, units int64) time.Time {
	if a.unlimited() {
		return spent
	}
	if full := now.Add(-a.slice); spent.Before(full) {
		spent = full
	}
	return spent.Add(a.cost(units))
}

// left is how many whole units are there.
func (a allowance) left(spent, now time.Time) int {
	if a.unlimited() {
		return unlimited
	}
	return int(max(0, min(now.Sub(spent), a.slice)) / a.unit)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
