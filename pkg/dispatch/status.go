package dispatch

// Status is where a request stands, as its caller may ask.
type Status string

// The states of a request. The first two pass, the others are terminal: a
// request reaches exactly one of them.
const (
	StatusQueued     Status = "queued"
	StatusInProgress Status = "in_progress"
	StatusAnswered   Status = "answered"
	StatusFailed     Status = "failed"
	StatusExpired    Status = "expired"
	StatusCancelled  Status = "cancelled"
)
