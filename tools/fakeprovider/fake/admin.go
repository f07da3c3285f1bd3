package fake

import (
	"io"
	"net/http"
	"strconv"
)

// adminRoutes binds the administration. It asks for no key: a fake belongs on
// loopback or in a private network.
func (p *Provider) adminRoutes() {
	p.mux.HandleFunc("GET /admin/faults", p.showFaults)
	p.mux.HandleFunc("PUT /admin/faults", p.replaceFaults)
	p.mux.HandleFunc("DELETE /admin/faults", func(w http.ResponseWriter, _ *http.Request) {
		p.rules.set(nil)
		w.WriteHeader(http.StatusNoContent)
	})
	p.mux.HandleFunc("PUT /admin/down", p.takeDown)
	p.mux.HandleFunc("PUT /admin/up", func(w http.ResponseWriter, _ *http.Request) {
		p.Up()
		w.WriteHeader(http.StatusNoContent)
	})
	p.mux.HandleFunc("PUT /admin/text", p.replaceText)
	p.mux.HandleFunc("DELETE /admin/text", func(w http.ResponseWriter, _ *http.Request) {
		p.SetText("")
		w.WriteHeader(http.StatusNoContent)
	})
	p.mux.HandleFunc("GET /admin/stats", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, p.Stats())
	})
	p.mux.HandleFunc("DELETE /admin/stats", func(w http.ResponseWriter, _ *http.Request) {
		p.ResetStats()
		w.WriteHeader(http.StatusNoContent)
	})
	p.mux.HandleFunc("GET /admin/calls", p.showCalls)
}

func (p *Provider) showFaults(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, p.Faults())
}

func (p *Provider) replaceFaults(w http.ResponseWriter, r *http.Request) {
	body, err := readAdmin(w, r)
	if err != nil {
		badRequest("", "read the body: %v", err).write(w)
		return
	}
	faults, err := ParseFaults(body)
	if err != nil {
		badRequest("", "%v", err).write(w)
		return
	}
	p.rules.set(faults)
	p.showFaults(w, r)
}

func (p *Provider) takeDown(w http.ResponseWriter, r *http.Request) {
	mode := DownRefuse
	if asked := r.URL.Query().Get("mode"); asked != "" {
		mode = DownMode(asked)
	}
	if err := p.Down(mode); err != nil {
		badRequest("mode", "%v", err).write(w)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (p *Provider) replaceText(w http.ResponseWriter, r *http.Request) {
	body, err := readAdmin(w, r)
	if err != nil {
		badRequest("", "read the body: %v", err).write(w)
		return
	}
	p.SetText(string(body))
	w.WriteHeader(http.StatusNoContent)
}

func (p *Provider) showCalls(w http.ResponseWriter, r *http.Request) {
	limit := 0
	if asked := r.URL.Query().Get("limit"); asked != "" {
		var err error
		if limit, err = strconv.Atoi(asked); err != nil || limit < 1 {
			badRequest("limit", "limit %q must be a positive number", asked).write(w)
			return
		}
	}
	writeJSON(w, p.Calls(limit))
}

// readAdmin reads the body of an administrative call.
func readAdmin(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
}
