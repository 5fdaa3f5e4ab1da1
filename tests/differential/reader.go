// Reads bodies with the parsers of Go's standard library: see run.py for the protocol.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
)

type reader func(contentType string, body []byte) ([]string, error)

// Without regard to case, and the last of several keys.
func jsonStruct(_ string, body []byte) ([]string, error) {
	var value struct{ Model *string }
	err := json.Unmarshal(body, &value)
	if err != nil || value.Model == nil {
		return nil, err
	}
	return []string{*value.Model}, nil
}

// The first value of a stream: what is behind it is not looked at.
func jsonDecoder(_ string, body []byte) ([]string, error) {
	var value struct{ Model *string }
	err := json.NewDecoder(bytes.NewReader(body)).Decode(&value)
	if err != nil || value.Model == nil {
		return nil, err
	}
	return []string{*value.Model}, nil
}

func jsonMap(_ string, body []byte) ([]string, error) {
	var value map[string]any
	err := json.Unmarshal(body, &value)
	if model, ok := value["model"].(string); ok && err == nil {
		return []string{model}, nil
	}
	return nil, err
}

func forms(contentType string, body []byte) ([]string, error) {
	request, err := http.NewRequest("POST", "/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", contentType)
	err = request.ParseMultipartForm(1 << 20)
	found := append([]string{}, request.PostForm["model"]...)
	if request.MultipartForm != nil {
		found = append(found, request.MultipartForm.Value["model"]...)
		for _, header := range request.MultipartForm.File["model"] {
			file, err := header.Open()
			if err != nil {
				return nil, err
			}
			content, _ := io.ReadAll(file)
			found = append(found, string(content))
		}
	}
	return found, nil
}

// Values read before an error count.
func parts(contentType string, body []byte) ([]string, error) {
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, err
	}
	var found []string
	reader := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
	for {
		part, err := reader.NextPart()
		if err != nil {
			return found, nil
		}
		content, _ := io.ReadAll(part)
		if part.FormName() == "model" {
			found = append(found, string(content))
		}
	}
}

func main() {
	readers := map[string]reader{
		"encoding/json struct": jsonStruct, "encoding/json decoder": jsonDecoder, "encoding/json map": jsonMap,
		"net/http form": forms, "mime/multipart": parts,
	}
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var body struct {
			Type *string
			Body []byte
		}
		if err := json.Unmarshal(line, &body); err != nil {
			panic(err)
		}
		contentType := ""
		if body.Type != nil {
			contentType = *body.Type
		}
		reads := map[string][]string{}
		for name, read := range readers {
			found, err := read(contentType, body.Body)
			if err == nil && found == nil {
				found = []string{}
			}
			reads[name] = found
		}
		out, err := json.Marshal(map[string]any{"reads": reads})
		if err != nil {
			panic(err)
		}
		os.Stdout.Write(append(out, '\n'))
	}
}
