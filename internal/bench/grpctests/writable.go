package main

import "io/fs"

// writable is a file system whose files may be written once they are copied.
// Those of the module cache may not.
type writable struct{ fs.FS }

func (w writable) Open(name string) (fs.File, error) {
	f, err := w.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if d, ok := f.(fs.ReadDirFile); ok {
		return writableDir{d}, nil
	}
	return writableFile{f}, nil
}

type writableFile struct{ fs.File }

func (f writableFile) Stat() (fs.FileInfo, error) { return statOf(f.File) }

type writableDir struct{ fs.ReadDirFile }

func (d writableDir) Stat() (fs.FileInfo, error) { return statOf(d.ReadDirFile) }

func statOf(f fs.File) (fs.FileInfo, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return writableInfo{info}, nil
}

type writableInfo struct{ fs.FileInfo }

func (i writableInfo) Mode() fs.FileMode { return i.FileInfo.Mode() | 0o200 }
