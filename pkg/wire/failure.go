package wire

import "understudy/pkg/dispatch"

// FailureOf renders an error as a caller may see it, by the failure table.
func FailureOf(e *dispatch.Error) *Failure {
	rule := e.Kind.Rule()
	f := &Failure{Kind: e.Kind, Status: int64(rule.Status), Message: e.Message, Type: rule.Type, Code: rule.Code, Param: e.Param}
	if f.Message == "" {
		f.Message = e.Error()
	}
	if e.Kind == dispatch.Account {
		f.Message = "the provider refuses our account; the operator has to mend it"
	}
	if rule.AsItCame {
		if e.Status >= 400 {
			f.Status = int64(e.Status)
		}
		if e.Type != "" {
			f.Type = e.Type
		}
		if e.Code != "" {
			f.Code = e.Code
		}
	}
	if rule.RetryAfter {
		f.RetryAfterMS = max(e.RetryAfter.Milliseconds(), 1000)
	}
	return f
}
