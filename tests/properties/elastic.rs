//! The size of a buffer, over any sequence of reads.

use model_filter::elastic::{LEAST, MOST, next_size, size_for};
use proptest::prelude::*;

use crate::cases;

#[test]
fn a_buffer_grows_while_it_is_filled_and_shrinks_while_it_is_not() {
    let mut size = LEAST;
    for _ in 0..10 {
        size = next_size(size, size);
    }
    assert_eq!(size, MOST);
    assert_eq!(next_size(size, size / 2), MOST, "a buffer that was half full keeps its size");
    for _ in 0..10 {
        size = next_size(size, 100);
    }
    assert_eq!(size, LEAST);
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn a_size_stays_within_its_bounds(
        length in any::<u64>(),
        reads in prop::collection::vec(0..=100_usize, 0..30),
    ) {
        let mut size = size_for(length);
        for percent in reads {
            prop_assert!((LEAST..=MOST).contains(&size));
            size = next_size(size, size * percent / 100);
        }
    }
}
