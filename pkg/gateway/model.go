package gateway

import "net/http"

// model is a name that leads to a route, in the shape of OpenAI's model object.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func (g *Gateway) model(name string) model {
	return model{ID: name, Object: "model", Created: g.started.Unix(), OwnedBy: "understudy"}
}

// listModels serves GET /v1/models.
func (g *Gateway) listModels(x *exchange, _ *http.Request) {
	models := []model{}
	for _, name := range g.directory.now.Load().names {
		models = append(models, g.model(name))
	}
	x.json(http.StatusOK, struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{"list", models})
}

// showModel serves GET /v1/models/{id}.
func (g *Gateway) showModel(x *exchange, r *http.Request) {
	name := r.PathValue("id")
	if _, known := g.directory.now.Load().models[name]; !known {
		f := notFound("model_not_found", "the model %q leads to no route", name)
		f.Param = "model"
		x.fail(f)
		return
	}
	x.json(http.StatusOK, g.model(name))
}
