//! Which pages of the cache of keys and values are free, and which belong to whom.

/// The free pages. A page belongs to one sequence at a time and is zeroed before it comes back.
#[derive(Debug)]
pub(crate) struct Pages {
    total: u32,
    free: Vec<u32>,
}

impl Pages {
    pub(crate) fn new(total: u32) -> Self {
        // The last is taken first: low numbers first.
        Self { total, free: (0..total).rev().collect() }
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn free(&self) -> &[u32] {
        &self.free
    }

    /// Takes `count` pages, or none when there are fewer.
    pub(crate) fn take(&mut self, count: u32) -> Option<Vec<u32>> {
        let rest = self.free.len().checked_sub(count as usize)?;
        Some(self.free.split_off(rest))
    }

    /// Takes pages back that were zeroed.
    pub(crate) fn give_back(&mut self, pages: Vec<u32>) {
        self.free.extend(pages);
        debug_assert!(self.free.len() <= self.total as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_taken_whole_or_not_at_all() {
        let mut pages = Pages::new(4);
        let first = pages.take(3).unwrap();
        assert_eq!(pages.take(2), None);
        assert_eq!(pages.free().len(), 1);
        let second = pages.take(1).unwrap();
        assert!(!first.contains(&second[0]));
        pages.give_back(first);
        assert_eq!(pages.free().len(), 3);
        assert_eq!(pages.take(0), Some(Vec::new()));
    }
}
