//! Which paths a source file names, outside its tests.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, File, Item, ItemUse, Meta, UseTree,
    spanned::Spanned as _,
    visit::{self, Visit},
};

/// A path that stands in a file: in a `use`, an expression, a type or inside a macro call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Use {
    /// Segments, e.g. `["std", "time", "Instant"]`.
    pub(super) path: Vec<String>,
    /// Line from 1.
    pub(super) line: usize,
    /// Named by `use`: what lies below it can be reached by a shorter name from here on.
    pub(super) imported: bool,
}

/// What a file names.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Paths in order of appearance.
    pub(super) paths: Vec<Use>,
    /// Lines with `unsafe`, or with an attribute that allows it.
    pub(super) unsafe_lines: Vec<usize>,
}

/// Reads a source file; what is compiled for tests only is left out.
pub(super) fn read(text: &str) -> syn::Result<Uses> {
    let file: File = syn::parse_file(text)?;
    let mut uses = Uses::default();
    uses.visit_file(&file);
    Ok(uses)
}

fn only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test")
        }
        _ => false,
    })
}

fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl Uses {
    fn flatten(&mut self, tree: &UseTree, prefix: &[String]) {
        let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.flatten(&path.tree, &with(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.flatten(tree, prefix)),
            UseTree::Name(name) if name.ident == "self" => self.import(prefix.to_vec(), tree),
            UseTree::Name(name) => self.import(with(&name.ident), tree),
            UseTree::Rename(rename) if rename.ident == "self" => self.import(prefix.to_vec(), tree),
            UseTree::Rename(rename) => self.import(with(&rename.ident), tree),
            UseTree::Glob(_) => self.import(prefix.to_vec(), tree),
        }
    }

    fn import(&mut self, path: Vec<String>, tree: &UseTree) {
        self.paths.push(Use { path, line: tree.span().start().line, imported: true });
    }

    /// Macro arguments are not parsed by syn: take the `a::b::c` sequences out of the tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if ident == "unsafe" {
                        self.unsafe_lines.push(ident.span().start().line);
                    }
                    if colons != 2 {
                        self.finish(&mut path, line);
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.finish(&mut path, line);
                    colons = 0;
                    self.tokens(group.stream());
                }
                _ => {
                    self.finish(&mut path, line);
                    colons = 0;
                }
            }
        }
        self.finish(&mut path, line);
    }

    fn finish(&mut self, path: &mut Vec<String>, line: usize) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.paths.push(Use { path, line, imported: false });
        }
    }
}

impl<'ast> Visit<'ast> for Uses {
    fn visit_item(&mut self, item: &'ast Item) {
        if !only_for_tests(attributes_of(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.flatten(&item.tree, &[]);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        let path = vec![item.ident.to_string()];
        self.paths.push(Use { path, line: item.span().start().line, imported: true });
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.paths.push(Use { path: segments, line: path.span().start().line, imported: false });
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let Meta::List(list) = &attribute.meta else { return };
        let allows = list.path.is_ident("allow") || list.path.is_ident("expect");
        if allows && list.tokens.to_string().contains("unsafe_code") {
            self.unsafe_lines.push(attribute.span().start().line);
        }
        self.tokens(list.tokens.clone());
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_lines.push(block.span().start().line);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if signature.unsafety.is_some() {
            self.unsafe_lines.push(signature.span().start().line);
        }
        visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if item.unsafety.is_some() {
            self.unsafe_lines.push(item.span().start().line);
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_item_foreign_mod(&mut self, item: &'ast syn::ItemForeignMod) {
        self.unsafe_lines.push(item.span().start().line);
        visit::visit_item_foreign_mod(self, item);
    }
}
