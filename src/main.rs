//! main
fn main() {
    let l = model_filter::server::bind("127.0.0.1", 8099).unwrap();
    l.serve(Box::new(|e| {
        e.respond(&model_filter::reply::Reply::json(200, "{}"));
    }))
    .unwrap();
    std::thread::park();
}
