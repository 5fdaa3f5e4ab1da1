//! The turns of a crew, with real threads.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use model_filter::crew::Crew;

struct Site {
    crew: Crew,
    work: Mutex<Receiver<Duration>>,
    is_led: AtomicBool,
    done: AtomicUsize,
}

fn member(site: &Site) {
    while let Some(lead) = site.crew.take_lead() {
        assert!(!site.is_led.swap(true, Ordering::SeqCst), "there are two leaders");
        let work = site.work.lock().unwrap().recv();
        site.is_led.store(false, Ordering::SeqCst);
        let Ok(work) = work else {
            site.crew.retire();
            assert!(site.crew.leave_if_spare());
            return;
        };
        site.crew.begin_work();
        drop(lead);
        thread::sleep(work);
        site.done.fetch_add(1, Ordering::SeqCst);
        site.crew.end_work();
    }
}

#[test]
fn one_member_leads_at_a_time_and_none_waits_while_there_is_work() {
    const MEMBERS: usize = 8;
    const WORK: usize = 2000;
    let (sender, receiver) = channel();
    let (is_led, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let site = Site { crew: Crew::default(), work: Mutex::new(receiver), is_led, done };
    let site = Arc::new(site);
    let members: Vec<_> = (0..MEMBERS)
        .map(|_| {
            site.crew.join();
            let site = Arc::clone(&site);
            thread::spawn(move || member(&site))
        })
        .collect();
    for number in 0..WORK {
        sender.send(Duration::from_micros(number as u64 % 7 * 50)).unwrap();
    }
    drop(sender);
    members.into_iter().for_each(|member| member.join().unwrap());
    assert_eq!(site.done.load(Ordering::SeqCst), WORK);
    assert_eq!(site.crew.size(), 0, "all have left");
}
