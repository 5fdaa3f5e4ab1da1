//! Any bytes as a list of models: it is refused, or filtered as the naive implementation does it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use model_filter_fuzz::list::check;

fuzz_target!(|body: &[u8]| {
    check(body, "");
    check(body, "p\"\\é/");
});
