package archtest

import (
	"errors"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	root   = "../.."
	module = "understudy"
)

// pkg is one package of the module.
type pkg struct {
	*build.Package
	// path is its folder, from the module's root: pkg/bus.
	path string
}

// testImports are the imports of its tests.
func (p pkg) testImports() []string { return slices.Concat(p.TestImports, p.XTestImports) }

// allImports are those of its product code and of its tests.
func (p pkg) allImports() []string { return slices.Concat(p.Imports, p.testImports()) }

// is says whether the package is one of the folders or lies in one.
func (p pkg) is(folders ...string) bool { return within(p.path, folders...) }

func within(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
}

// local returns an import's folder in this module.
func local(imported string) (folder string, ok bool) { return strings.CutPrefix(imported, module+"/") }

// source is one Go file of the module.
type source struct {
	pkg   pkg
	path  string // from the module's root
	lines int
	ast   *ast.File
	fset  *token.FileSet
}

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// generated says whether a program wrote the file.
func (s source) generated() bool { return ast.IsGenerated(s.ast) }

// at returns a node's place: pkg/bus/bus.go:12.
func (s source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.fset.Position(n.Pos()).Line)
}

// packages returns every package of the module. Modules of their own inside it
// are not part of it.
func packages(t *testing.T) []pkg {
	t.Helper()
	all, err := listed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var listed = sync.OnceValues(func() ([]pkg, error) {
	var all []pkg
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if dir != root && (strings.ContainsAny(d.Name()[:1], "._") || d.Name() == "testdata" || d.Name() == "node_modules" || exists(dir, "go.mod")) {
			return fs.SkipDir
		}
		p, err := build.ImportDir(dir, 0)
		if _, none := errors.AsType[*build.NoGoError](err); none {
			return nil
		}
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, dir)
		all = append(all, pkg{Package: p, path: filepath.ToSlash(folder)})
		return err
	})
	return all, err
})

func exists(dir, file string) bool {
	_, err := os.Stat(filepath.Join(dir, file))
	return err == nil
}

// sources returns every Go file of the module, whatever it is built for.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var parsed = sync.OnceValues(func() ([]source, error) {
	pkgs, err := listed()
	if err != nil {
		return nil, err
	}
	var all []source
	fset := token.NewFileSet()
	for _, p := range pkgs {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(fset, file, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			all = append(all, source{
				pkg: p, path: path.Join(p.path, filepath.Base(file)), lines: fset.File(parsed.FileStart).LineCount(), ast: parsed, fset: fset,
			})
		}
	}
	return all, nil
})

// mentions calls see with each mention of pkg.Name, or of any variable's method
// Name when pkg is empty.
func (s source) mentions(pkg string, names []string, see func(n ast.Node, name string)) {
	ast.Inspect(s.ast, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && (pkg == "" || x.Name == pkg) && slices.Contains(names, selector.Sel.Name) {
			see(n, x.Name+"."+selector.Sel.Name)
		}
		return true
	})
}
