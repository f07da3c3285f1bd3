package bus

import "testing"

func TestBrokersBeforePrioritizedPullsAreTooOld(t *testing.T) {
	for version, want := range map[string]bool{
		"2.12.0": true, "2.15.2": true, "3.0.0": true, "2.12.1-beta.2": true,
		"2.11.9": false, "1.99.0": false, "": false,
	} {
		if got := atLeast(version, minimumServer); got != want {
			t.Errorf("%q is new enough: %v, want %v", version, got, want)
		}
	}
}
