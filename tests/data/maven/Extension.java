package demo;

import org.apache.commons.io.FilenameUtils;

/** Needs a dependency at compile time. */
public final class Extension {
    private Extension() {}

    public static String of(String file) {
        return FilenameUtils.getExtension(file);
    }
}
