//! A panic of any thread gives the terminal back.

use std::{env, thread};

use anyhow::{Result, ensure};
use harness::{Lab, tmux::Tmux};

use super::{SIZE, SOON, restored};

/// No test of its own: [`a_panic_restores_the_terminal`] runs it in a terminal.
#[test]
#[ignore = "panics on purpose, run by another test"]
fn panics_on_the_screen() {
    let mut screen = tracer::terminal::Screen::enter().expect("this runs in a terminal");
    screen.draw(|_| {}).expect("it can be drawn");
    // as the session of the view does, beside the thread that draws
    let other = thread::Builder::new().name("other".to_owned());
    let ended = other
        .spawn(|| panic!("on purpose"))
        .map(thread::JoinHandle::join);
    assert!(ended.is_ok_and(|r| r.is_err()));
    // this thread goes on, and has not heard of it yet
    screen
        .draw(|f| {
            f.buffer_mut()[(0, 0)].set_symbol("DRAWN OVER IT");
        })
        .expect("nothing is drawn");
    // neither its destructor nor the end of the program may be what restores the terminal
    std::mem::forget(screen);
}

#[test]
fn a_panic_restores_the_terminal() -> Result<()> {
    let lab = Lab::raise("ipv6-prefix", None)?;
    let terminal = Tmux::start(lab.node(), SIZE, &["sh", "-i"])?;
    terminal.wait_for("a prompt", SOON, |s| s.contains(['#', '$']))?;
    let own = env::current_exe()?;
    let command = format!(
        "clear; {} --ignored --exact panics::panics_on_the_screen --nocapture; echo status $?",
        own.display()
    );
    terminal.send_text(&command)?;
    terminal.send_keys(&["Enter"])?;
    let screen = terminal.wait_for("the end", SOON, |s| s.contains("status 0"))?;
    ensure!(
        screen.contains("on purpose") && screen.contains("panicked"),
        "the message is gone:\n{screen}"
    );
    ensure!(
        !screen.contains("DRAWN OVER IT"),
        "a frame was drawn after the panic:\n{screen}"
    );
    restored(&terminal, "a panic")
}
