package fake

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkWholeAnswers measures whole answers over TCP, with the callers on
// the same machine.
func BenchmarkWholeAnswers(b *testing.B) {
	s, err := Start(":0", Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	body := chatBody("m", false) + strings.Repeat(" ", 900)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			response, err := client.Post(s.URL()+completions, "application/json", strings.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
