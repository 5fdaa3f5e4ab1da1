//! A second implementation of lists of models, the naive one: it parses the whole list, changes
//! the tree, and knows nothing of bytes.

use std::fmt;

use model_filter::list::{List, Prefixes};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A JSON value whose objects have their members in order, repeated ones too.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    Object(Vec<(String, Tree)>),
    Array(Vec<Tree>),
    Other(Value),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Tree, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(Tree::Object(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = array.next_element()? {
                    items.push(item);
                }
                Ok(Tree::Array(items))
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Other(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Other(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Other(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Other(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
                Ok(Tree::Other(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Other(value.into()))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl Tree {
    /// The values of all members of that name.
    fn all(&self, name: &str) -> Vec<&Tree> {
        let Tree::Object(members) = self else { return Vec::new() };
        members.iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
    }

    fn text(&self) -> Option<&str> {
        match self {
            Tree::Other(value) => value.as_str(),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        *self == Tree::Other(Value::Null)
    }

    fn is_filled(&self) -> bool {
        self.text().is_some_and(|text| !text.is_empty())
    }

    fn set(&mut self, name: &str, new: Tree) {
        let Tree::Object(members) = self else { return };
        members
            .iter_mut()
            .filter(|(key, _)| key == name)
            .for_each(|(_, value)| *value = new.clone());
    }
}

/// The fields that name a model; none if it is no model.
fn naming(item: &Tree) -> Option<Vec<&'static str>> {
    let fields = match item {
        Tree::Object(_) if !item.all("id").is_empty() => vec!["id"],
        Tree::Object(_) if !item.all("key").is_empty() => vec!["key"],
        _ => vec!["name", "model"],
    };
    let fields: Vec<_> = fields.into_iter().filter(|field| !item.all(field).is_empty()).collect();
    let is_one = |field: &&str| matches!(item.all(field).as_slice(), [one] if one.text().is_some());
    (!fields.is_empty() && fields.iter().all(is_one)).then_some(fields)
}

/// The kind of the resource before an id, and the id.
fn parts(item: &Tree, field: &str) -> (&'static str, String) {
    let text = item.all(field)[0].text().unwrap_or_default();
    match text.strip_prefix("models/").filter(|id| field != "id" && !id.is_empty()) {
        Some(id) => ("models/", id.to_owned()),
        None => ("", text.to_owned()),
    }
}

/// What is left of an item: itself with the prefix, and its id. None if it is hidden.
fn left(item: &Tree, keeps: fn(&str) -> bool, prefix: &str) -> Option<(Tree, String)> {
    let fields = naming(item)?;
    if !fields.iter().all(|field| keeps(&parts(item, field).1)) {
        return None;
    }
    let mut new = item.clone();
    for field in &fields {
        let (kind, id) = parts(item, field);
        new.set(field, Tree::Other(format!("{kind}{prefix}{id}").into()));
    }
    Some((new, format!("{prefix}{}", parts(item, fields[0]).1)))
}

/// The filtered list; an error if it must be refused.
fn filtered(list: &Tree, keeps: fn(&str) -> bool, prefix: &str) -> Result<Tree, ()> {
    let all = |array: &Tree| match array {
        Tree::Array(items) => {
            Ok(items.iter().filter_map(|item| left(item, keeps, prefix)).collect::<Vec<_>>())
        }
        array if array.is_null() => Ok(Vec::new()),
        _ => Err(()),
    };
    let trees =
        |models: &[(Tree, String)]| Tree::Array(models.iter().map(|m| m.0.clone()).collect());
    if let Tree::Array(_) = list {
        return Ok(trees(&all(list)?));
    }
    let fields = "data models has_more first_id last_id object links nextPageToken next_page_token";
    if fields.split(' ').any(|field| list.all(field).len() > 1) {
        return Err(());
    }
    let one = |name: &str| list.all(name).first().copied();
    let (mut new, mut main) = (list.clone(), None);
    for name in ["data", "models"] {
        let Some(array) = one(name) else { continue };
        let models = all(array)?;
        if !array.is_null() {
            new.set(name, trees(&models));
        }
        let is_filled = matches!(array, Tree::Array(items) if !items.is_empty());
        match &main {
            None => main = Some((is_filled, models)),
            Some((false, _)) if is_filled => main = Some((true, models)),
            Some(_) => {}
        }
    }
    let (_, models) = main.ok_or(())?;
    let has_more = one("has_more") == Some(&Tree::Other(true.into()));
    let links = one("links").map(|links| links.all("next"));
    let has_next = has_more && one("last_id").is_some_and(Tree::is_filled)
        || links.is_some_and(|next| next.first().is_some_and(|next| next.is_filled()))
        || one("nextPageToken").is_some_and(Tree::is_filled)
        || one("next_page_token").is_some_and(Tree::is_filled);
    for (name, model) in [("first_id", models.first()), ("last_id", models.last())] {
        if !has_next && one(name).is_some_and(|id| id.text().is_some()) {
            let id = model.map_or(Value::Null, |(_, id)| id.as_str().into());
            new.set(name, Tree::Other(id));
        }
    }
    Ok(new)
}

/// What hides models here: any rule will do.
pub fn keeps(id: &str) -> bool {
    id.len() % 3 != 1
}

/// Filters any bytes as a list.
///
/// # Panics
/// If the list is not what the naive implementation makes of it, or a model was not passed on byte
/// for byte.
pub fn check(body: &[u8], prefix: &str) {
    let tree = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    // What is not valid in every respect, or nested too deeply, is only known to be safe.
    let tree = serde_json::from_slice::<Tree>(tree).ok();
    let wanted = tree.as_ref().map(|tree| filtered(tree, keeps, prefix));
    let Ok(mut list) = List::find(body) else {
        assert!(!matches!(wanted, Some(Ok(_))), "a list was refused");
        return;
    };
    let _ = (list.entries(), list.next());
    list.filter(|models| models.retain(|model| model.ids().all(keeps)));
    let written = list.write(Prefixes { id: prefix, name: "" });
    if prefix.is_empty() {
        let objects: Vec<&str> = list.models().iter().map(|model| model.object()).collect();
        assert_eq!(&written.body[written.models.clone()], objects.join(","));
    }
    if let Some(wanted) = wanted {
        let new: Tree = serde_json::from_str(&written.body).expect("the new list is JSON");
        assert_eq!(Ok(new), wanted);
        if let Some(identified) = written.identified {
            let models: Vec<Value> =
                serde_json::from_str(&format!("[{identified}]")).expect("JSON");
            let ids: Vec<_> = models.iter().map(|model| model["id"].as_str()).collect();
            let kept = list.models().iter().map(|model| format!("{prefix}{}", model.id));
            assert_eq!(
                ids,
                kept.collect::<Vec<_>>().iter().map(|id| Some(id.as_str())).collect::<Vec<_>>()
            );
        }
    }
}
