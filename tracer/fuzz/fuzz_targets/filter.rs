//! Any text as a filter: what is accepted is printed as itself again, and has a form for the kernel.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::filter::Filter;

fuzz_target!(|text: &str| {
    match Filter::parse(text) {
        Ok(filter) => {
            let _lowered = filter.lower();
            let printed = filter.to_string();
            if !filter.is_all() {
                let again = Filter::parse(&printed).expect("a printed filter is one");
                assert_eq!(again.to_string(), printed, "of {text:?}");
            }
        }
        // with a caret below the word
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
