package bus_test

import (
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

var nopLog = zerolog.Nop()

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
