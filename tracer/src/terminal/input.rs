//! What the terminal sends → what the interface understands.

use std::io;

use ratatui::crossterm::event::{
    self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind,
};

use crate::view::tui::{Input, Key};

/// Waits for the next input that means something.
pub fn read_input() -> io::Result<Input> {
    loop {
        if let Some(input) = input(event::read()?) {
            return Ok(input);
        }
    }
}

fn input(event: Event) -> Option<Input> {
    Some(match event {
        Event::Key(e) if e.kind != KeyEventKind::Release => Input::Key(key(e)?),
        Event::Paste(text) => Input::Paste(text),
        Event::Resize(columns, rows) => Input::Resize(columns, rows),
        Event::Mouse(m) => match m.kind {
            MouseEventKind::Down(MouseButton::Left) => Input::Click(m.column, m.row),
            MouseEventKind::ScrollDown => Input::Wheel(true),
            MouseEventKind::ScrollUp => Input::Wheel(false),
            _ => return None,
        },
        _ => return None,
    })
}

fn key(e: KeyEvent) -> Option<Key> {
    Some(match e.code {
        KeyCode::Char(c) if e.modifiers.contains(KeyModifiers::CONTROL) => {
            Key::Ctrl(c.to_ascii_lowercase())
        }
        KeyCode::Char(c) if !e.modifiers.contains(KeyModifiers::ALT) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Delete => Key::Delete,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        _ => return None,
    })
}
