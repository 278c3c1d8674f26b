package demo;

import static org.junit.Assert.assertEquals;

import org.junit.Test;

/** Needs dependencies at run time. */
public class ExtensionTest {
    @Test
    public void findsTheExtension() {
        assertEquals("jar", Extension.of("a.jar"));
    }
}
